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
from typing import Iterator, Optional, Sequence, Union

from sld_user_dir.errors import InputError, line_of
from sld_user_dir.features.waveform import EXTENSIONS, AudioError, AudioInfo, probe, read_audio, reject_reason
from sld_user_dir.files import read_lines
from sld_user_dir.manifests.audio_manifest import AudioManifestError, Recording, draw_share
from sld_user_dir.manifests.named_columns import check_columns, check_row, table_rows
from sld_user_dir.manifests.rejected import Rejected

logger = logging.getLogger(__name__)
TABLE_COLUMNS = ("path", "text")
LIBRISPEECH_ID = re.compile(r"(\d+)-\d+-\d+")


@dataclass(frozen=True)
class UsableAudio:
    """What counts as usable; seconds, both ends inclusive."""

    min_seconds: float = 0.1
    max_seconds: Optional[float] = None
    need_text: bool = True
    decode: bool = True
    """read every file to its end: finds what a header hides (truncation, NaN)"""


def list_recordings(
    root: Path,
    table: Optional[Path] = None,
    pattern: Optional[str] = None,
    folders: Sequence[str] = (),
    share: float = 1.0,
    lowercase: bool = False,
) -> list[Recording]:
    """The recordings of a table, or else those found below `root`, with transcripts and speakers; unchecked.

    Args:
        pattern: regular expression of `add_pattern`.
        folders: of `find_recordings`.
        share: keep so many of them, drawn at random (`draw_share`).
        lowercase: transcripts in lower case.

    Raises:
        AudioManifestError: a bad table, or one of `folders` is missing.
        InputError: no recordings, a bad pattern or share.
    """
    recordings = read_table(table, root) if table else list(find_recordings(root, folders=folders))
    if pattern:
        expression = _compiled(pattern)
        recordings = [add_pattern(one, expression) for one in recordings]
    if not recordings:
        raise InputError(root, "no recordings found", "check --root (sub-folders are searched)")
    recordings = [add_transcript(one) for one in draw_share(recordings, share)]
    return [replace(one, text=one.text.lower()) for one in recordings] if lowercase else recordings


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        problem = f"no regular expression of Python's: {error}"
        raise InputError(f"--pattern {pattern}", problem, r"write it like '(?P<text>\w+)_(?P<speaker>\w+)'") from None


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

    Quotation marks are text in a .tsv; blank lines are passed over.

    Raises:
        AudioManifestError: a required column is missing or there twice, a row has more or fewer columns.
    """
    lines = read_lines(path, AudioManifestError)
    rows = _csv_rows(path, lines) if path.suffix == ".csv" else _tsv_rows(path, lines)
    recordings = []
    for row in rows:
        name = row.pop("path")
        identity = row.pop("id", "") or str(Path(name).with_suffix(""))
        recordings.append(
            Recording(identity, root / name, text=row.pop("text"), speaker=row.pop("speaker", ""), fields=row)
        )
    return recordings


def _tsv_rows(path: Path, lines: list[str]) -> Iterator[dict[str, str]]:
    return (row for _, row in table_rows(path, lines, TABLE_COLUMNS, AudioManifestError, skip_blank=True))


def _csv_rows(path: Path, lines: list[str]) -> Iterator[dict[str, str]]:
    """Rows by column; a quoted value may go over several lines."""
    reader = csv.reader(line + "\n" for line in lines)
    columns = next(reader, [])
    check_columns(columns, TABLE_COLUMNS, line_of(path, 1), AudioManifestError)
    for values in filter(None, reader):
        check_row(values, columns, line_of(path, reader.line_num), AudioManifestError, "comma")
        yield dict(zip(columns, values))


def check(recordings: list[Recording], limits: UsableAudio, workers: int = 4) -> tuple[list[Recording], list[Rejected]]:
    """Sort recordings into usable ones, with length and rate filled in, and rejected ones.

    Order is kept; decoding runs in threads (libsndfile releases Python's lock).

    Raises:
        InputError: fewer than one worker.
    """
    if workers < 1:
        raise InputError(f"--workers {workers}", "no threads to decode with", "take 1 or more")
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


def _check_one(recording: Recording, limits: UsableAudio) -> Union[Recording, Rejected]:
    try:
        if limits.decode:
            wave, rate = read_audio(recording.path)
            info = AudioInfo(len(wave), rate)
        else:
            info = probe(recording.path)
    except AudioError as error:
        return Rejected(recording.id, recording.path, error.problem)
    reason = reject_reason(info.seconds, limits.min_seconds, limits.max_seconds)
    if reason is None and limits.need_text and not recording.text.strip():
        reason = "no transcript"
    if reason:
        return Rejected(recording.id, recording.path, reason)
    return replace(recording, n_samples=info.n_samples, sample_rate=info.sample_rate_hz)


def _sidecar_text(path: Path) -> str:
    beside = path.with_suffix(".txt")
    return " ".join(" ".join(read_lines(beside, AudioManifestError)).split()) if beside.is_file() else ""


@lru_cache(maxsize=64)
def _trans_texts(folder: Path) -> dict[str, str]:
    """LibriSpeech: lines `84-121123-0000 GO DO YOU HEAR` in the `*.trans.txt` of a folder."""
    texts = {}
    for path in sorted(folder.glob("*.trans.txt")):
        for line in read_lines(path, AudioManifestError):
            name, _, text = line.partition(" ")
            texts[name] = text.strip()
    return texts
