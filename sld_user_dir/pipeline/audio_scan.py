"""From a folder of recordings to an audio manifest: transcripts, speakers, and what is unusable.

Transcripts are looked for, in this order: in a table, by a pattern on the file's name, in
`X.txt` beside `X.flac`, in LibriSpeech's `*.trans.txt` of the folder.
"""

from __future__ import annotations

import csv
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Iterable, Iterator, Optional, Sequence, Union

from sld_user_dir.features.waveform import EXTENSIONS, AudioError, AudioInfo, probe, read_audio, reject_reason
from sld_user_dir.files import atomic_path
from sld_user_dir.manifests.audio_manifest import AudioManifestError, Recording

logger = logging.getLogger(__name__)
LIBRISPEECH_ID = re.compile(r"(\d+)-\d+-\d+")


@dataclass(frozen=True)
class Rejected:
    """A recording that is left out, and why."""

    id: str
    path: Path
    reason: str


@dataclass(frozen=True)
class UsableAudio:
    """What counts as usable; seconds, both ends inclusive."""

    min_seconds: float = 0.1
    max_seconds: Optional[float] = None
    need_text: bool = True
    decode: bool = True
    """read every file to its end: finds what a header hides (truncation, NaN)"""


def find_recordings(
    root: Path, extensions: tuple[str, ...] = EXTENSIONS, folders: Sequence[str] = ()
) -> Iterator[Recording]:
    """Every file below `root` that is named like audio, in sorted order; id: path without ending.

    Symbolic links to folders are not followed.

    Args:
        folders: search only these below `root`, in this order.

    Raises:
        AudioManifestError: one of `folders` is missing.
    """
    for top in [root / name for name in folders] or [root]:
        if folders and not top.is_dir():
            raise AudioManifestError(top, "no such folder", "check --root and --folders")
        for folder, below, names in os.walk(top):
            below.sort()
            named_like_audio = [n for n in (*names, *below) if n.lower().endswith(extensions)]
            for name in sorted(named_like_audio):
                path = Path(folder, name)
                yield Recording(str(path.relative_to(root).with_suffix("")), path)


def add_pattern(recording: Recording, pattern: re.Pattern[str]) -> Recording:
    """Columns from the file's stem by named groups: `(?P<text>\\d)_(?P<speaker>\\w+)_(?P<take>\\d+)`."""
    match = pattern.fullmatch(recording.path.stem)
    if not match:
        return recording
    groups = {name: value or "" for name, value in match.groupdict().items()}
    text = groups.pop("text", recording.text)
    speaker = groups.pop("speaker", recording.speaker)
    return replace(recording, text=text, speaker=speaker, fields={**recording.fields, **groups})


def add_transcript(recording: Recording) -> Recording:
    """Text from `X.txt` or `*.trans.txt` beside the file; LibriSpeech names give the speaker."""
    path, speaker = recording.path, recording.speaker
    match = LIBRISPEECH_ID.fullmatch(path.stem)
    if match and not speaker:
        speaker = match.group(1)
    text = recording.text or _sidecar_text(path) or _trans_texts(path.parent).get(path.stem, "")
    return replace(recording, text=text, speaker=speaker)


def read_table(path: Path, root: Path) -> list[Recording]:
    """Recordings of a .tsv or .csv table with columns path and text (and id, speaker, …).

    Raises:
        AudioManifestError: a required column is missing, or a column is there twice.
    """
    with open(path, encoding="utf-8", newline="") as handle:
        if path.suffix == ".csv":
            reader = csv.DictReader(handle)
        else:  # quotation marks are text in a .tsv
            reader = csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
        columns = list(reader.fieldnames or [])
        if len(set(columns)) < len(columns):
            raise AudioManifestError(f"{path}:1", f"a column twice among {columns}", "name each column once")
        rows = list(reader)
    for needed in ("path", "text"):
        if rows and needed not in rows[0]:
            raise AudioManifestError(f"{path}:1", f"no column {needed}", "name the columns on the first line")
    recordings = []
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise AudioManifestError(f"{path}:{number}", "another number of columns than the first line")
        name = row.pop("path")
        identity = row.pop("id", "") or str(Path(name).with_suffix(""))
        recordings.append(
            Recording(identity, root / name, text=row.pop("text"), speaker=row.pop("speaker", ""), fields=row)
        )
    return recordings


def check(recordings: list[Recording], limits: UsableAudio, workers: int = 4) -> tuple[list[Recording], list[Rejected]]:
    """Sort recordings into usable ones, with length and rate filled in, and rejected ones.

    Order is kept; decoding runs in threads (libsndfile releases Python's lock).
    """
    good: list[Recording] = []
    bad: list[Rejected] = []
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda one: _check_one(one, limits), recordings)
        for done, result in enumerate(results, 1):
            if isinstance(result, Rejected):
                bad.append(result)
            else:
                good.append(result)
            if done % 10_000 == 0:
                logger.info("checked %d of %d recordings, %d unusable", done, len(recordings), len(bad))
    return good, bad


def rejected_path(out: Path) -> Path:
    """`train.tsv` -> `train.rejected.tsv`, and `train.npz` -> `train.npz.rejected.tsv`."""
    return out.with_suffix(".rejected.tsv") if out.suffix == ".tsv" else out.with_name(f"{out.name}.rejected.tsv")


def write_rejected(path: Path, rejected: Iterable[Rejected]) -> None:
    """A table of id, path, reason; written even when it is empty, so that none means none."""
    with atomic_path(path) as aside, open(aside, "w", encoding="utf-8", newline="\n") as handle:
        handle.write("id\tpath\treason\n")
        for one in rejected:
            values = (one.id, str(one.path), one.reason)
            handle.write("\t".join(" ".join(value.split()) for value in values) + "\n")


def read_rejected(path: Path) -> list[Rejected]:
    """What `write_rejected` wrote."""
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:])
    return [Rejected(identity, Path(name), reason) for identity, name, reason in rows]


def _check_one(recording: Recording, limits: UsableAudio) -> Union[Recording, Rejected]:
    try:
        if limits.decode:
            wave, rate = read_audio(recording.path)
            info = AudioInfo(len(wave), rate)
        else:
            info = probe(recording.path)
    except AudioError as error:
        return Rejected(recording.id, recording.path, _without_path(error, recording.path))
    reason = reject_reason(info.seconds, limits.min_seconds, limits.max_seconds)
    if reason is None and limits.need_text and not recording.text.strip():
        reason = "no transcript"
    if reason:
        return Rejected(recording.id, recording.path, reason)
    return replace(recording, n_samples=info.n_samples, sample_rate=info.sample_rate_hz)


def _without_path(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _sidecar_text(path: Path) -> str:
    beside = path.with_suffix(".txt")
    return " ".join(_utf8(beside).split()) if beside.is_file() else ""


def _utf8(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise AudioManifestError(path, str(error), "save the transcript as UTF-8") from None


@lru_cache(maxsize=64)
def _trans_texts(folder: Path) -> dict[str, str]:
    """LibriSpeech: lines `84-121123-0000 GO DO YOU HEAR` in the `*.trans.txt` of a folder."""
    texts = {}
    for path in sorted(folder.glob("*.trans.txt")):
        for line in _utf8(path).splitlines():
            name, _, text = line.partition(" ")
            texts[name] = text.strip()
    return texts
