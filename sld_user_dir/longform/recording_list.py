"""Recordings that a user names: files, and folders with all that is below them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable, List, Set

from sld_user_dir.errors import InputError
from sld_user_dir.features.waveform import EXTENSIONS


@dataclass(frozen=True)
class NamedRecording:
    """A recording, and the name that files made of it get, without their ending."""

    path: Path
    name: Path
    """relative: the path below the folder that was given, or the file's own name"""


@dataclass
class FoundRecordings:
    """What was named or found."""

    recordings: List[NamedRecording] = field(default_factory=list)
    skipped: List[Path] = field(default_factory=list)
    """files in folders that are not named like audio"""
    n_folders: int = 0


def find_all(paths: Iterable[Path]) -> FoundRecordings:
    """The files among `paths` as they come, and in place of each folder the recordings below it, sorted.

    Links are followed, a folder is entered once. What begins with a dot is passed over. A file in a folder that was
    named or found already is not taken twice.

    Raises:
        InputError: there is no recording.
    """
    found = FoundRecordings()
    paths = list(paths)
    seen: Set[Path] = set()
    entered: Set[str] = set()
    for path in paths:
        if path.is_dir():
            found.n_folders += 1
            _walk(path, found, seen, entered)
        else:  # a file that is missing fails by itself
            seen.add(path)
            found.recordings.append(NamedRecording(path, Path(path.stem)))
    if not found.recordings:
        named = ", ".join(map(str, paths)) or None
        raise InputError(named, "no recordings", f"give files, or folders with files named {', '.join(EXTENSIONS)}")
    return found


def _walk(top: Path, found: FoundRecordings, seen: Set[Path], entered: Set[str]) -> None:
    for folder, below, names in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:  # a link back, or a folder that was named twice
            below.clear()
            continue
        entered.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        for path in (Path(folder, name) for name in sorted(names) if not name.startswith(".")):
            if not path.name.lower().endswith(EXTENSIONS):
                found.skipped.append(path)
            elif path not in seen:
                seen.add(path)
                found.recordings.append(NamedRecording(path, path.relative_to(top).with_suffix("")))
