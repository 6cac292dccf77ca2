"""Recordings that a user names: files, and folders with all that is below them, and what of it is passed over."""

from __future__ import annotations

import os
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Set, Tuple

from sld_user_dir.errors import InputError
from sld_user_dir.features.waveform import EXTENSIONS
from sld_user_dir.files import printable

UNREAD_EXTENSIONS = (
    *(".3gp", ".aac", ".ac3", ".aifc", ".alac", ".amr", ".ape", ".caf", ".dss", ".gsm", ".m4a", ".m4b", ".mka", ".mkv"),
    *(
        ".mov",
        ".mp2",
        ".mp4",
        ".nist",
        ".oga",
        ".rf64",
        ".snd",
        ".voc",
        ".w64",
        ".wave",
        ".weba",
        ".webm",
        ".wma",
        ".wv",
    ),
)
"""Files of these endings hold sound, and are not among those that are looked for."""
CONVERT = "convert them, for example: ffmpeg -i X.m4a X.flac"
NAMES_SHOWN = 5


@dataclass(frozen=True)
class NamedRecording:
    """A recording, and the name that files made of it get, without their ending."""

    path: Path
    name: Path
    """relative: the path below the folder that was given, or the file's own name"""


@dataclass
class FoundRecordings:
    """What was named or found, and what was passed over."""

    recordings: List[NamedRecording] = field(default_factory=list)
    skipped: List[Path] = field(default_factory=list)
    """files in folders that are not named like audio"""
    hidden: List[Path] = field(default_factory=list)
    """files and folders whose names begin with a dot"""
    unreadable: Dict[Path, str] = field(default_factory=dict)
    """folders that could not be listed, and why"""
    n_folders: int = 0

    @property
    def unread(self) -> List[Path]:
        """Skipped files that are named like audio of a kind that is not read."""
        return [path for path in self.skipped if path.suffix.lower() in UNREAD_EXTENSIONS]

    def remarks(self, is_expected: Callable[[Path], bool] = lambda path: False) -> List[str]:
        """What was passed over, with counts, a line each.

        Args:
            is_expected: which of the skipped files need no remark.
        """
        unread = set(self.unread)
        others = [path for path in self.skipped if path not in unread and not is_expected(path)]
        reasons = [f"{printable(str(path))} ({reason})" for path, reason in self.unreadable.items()]
        said = (
            (reasons, "folders cannot be listed: {}"),
            (self.unread, f"files hold audio of an ending that is not read: {{}}; {CONVERT}"),
            (others, "files skipped, not named like audio: {}"),
            (self.hidden, "names skipped that begin with a dot: {}"),
        )
        return [f"{len(names)} {text.format(first_names(names))}" for names, text in said if names]


def first_names(names: Iterable[object]) -> str:
    """Some of many names, for a person."""
    shown = [printable(str(name)) for name in names]
    return ", ".join(shown[:NAMES_SHOWN]) + ", …" * (len(shown) > NAMES_SHOWN)


def find_all(paths: Iterable[Path]) -> FoundRecordings:
    """The files among `paths` as they come, and in place of each folder the recordings below it, sorted.

    Links are followed; a folder that several paths lead to is entered once, by its own path if that is among them.
    What begins with a dot is passed over. A file in a folder that was named or found already is not taken twice. An
    empty folder that is named like audio counts as a recording, one that fails.

    Raises:
        InputError: there is no recording; says what there is.
    """
    found = FoundRecordings()
    paths = list(paths)
    seen: Set[Path] = set()
    entered: Set[str] = set()
    for path in paths:
        if os.path.isdir(path):  # of a name that is too long `Path.is_dir` raises an error
            found.n_folders += 1
            _walk(path, found, seen, entered)
        else:  # a file that is missing fails by itself
            seen.add(path)
            found.recordings.append(NamedRecording(path, Path(path.stem)))
    if not found.recordings:
        _refuse_nothing(paths, found)
    return found


def _refuse_nothing(paths: List[Path], found: FoundRecordings) -> None:
    """Say that there is no recording, and what there is."""
    problem, remedy = "no recordings found", f"give files, or folders with files named {', '.join(EXTENSIONS)}"
    if found.skipped:
        endings = Counter(path.suffix.lower() or "no ending" for path in found.skipped).most_common(NAMES_SHOWN)
        of_each = ", ".join(f"{count} of {ending}" for ending, count in endings)
        problem += f" among {len(found.skipped)} files ({of_each})"
    if found.unread:
        remedy = CONVERT
    if found.unreadable:
        path, reason = next(iter(found.unreadable.items()))
        problem += f"; {len(found.unreadable)} folders cannot be listed ({printable(str(path))}: {reason})"
    raise InputError(printable(", ".join(map(str, paths))) or None, problem, remedy)


def _walk(top: Path, found: FoundRecordings, seen: Set[Path], entered: Set[str]) -> None:
    """Add what is below a folder: first by paths without links, so that these name what links lead to as well."""
    recordings: List[NamedRecording] = []
    skipped: List[Path] = []
    starts = deque([top])
    while starts:
        for folder, below, names in os.walk(starts.popleft(), onerror=lambda error: _note(error, found)):
            real = os.path.realpath(folder)
            if real in entered:  # a link back, or a folder that was named twice
                below.clear()
                continue
            entered.add(real)
            here = Path(folder)
            found.hidden += [here / name for name in sorted([*names, *below]) if name.startswith(".")]
            below[:] = [name for name in below if not name.startswith(".")]
            starts += [here / name for name in sorted(below) if os.path.islink(here / name)]
            files = [here / name for name in names if not name.startswith(".")]
            if here != top and not below and not files and _is_named_like_audio(here):
                files = [here]
            for path in files:
                if not _is_named_like_audio(path):
                    skipped.append(path)
                elif path not in seen:
                    seen.add(path)
                    recordings.append(NamedRecording(path, path.relative_to(top).with_suffix("")))
    found.recordings += sorted(recordings, key=lambda one: _place(one.path, top))
    found.skipped += sorted(skipped, key=lambda path: _place(path, top))


def _note(error: OSError, found: FoundRecordings) -> None:
    found.unreadable[Path(error.filename)] = error.strerror or str(error)


def _is_named_like_audio(path: Path) -> bool:
    return path.name.lower().endswith(EXTENSIONS)


def _place(path: Path, top: Path) -> List[Tuple[int, str]]:
    """A key by which the files of a folder come before those of the folders in it."""
    *folders, name = path.relative_to(top).parts
    return [*((1, folder) for folder in folders), (0, name)]
