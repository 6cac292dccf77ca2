"""From a folder of recordings to an audio manifest: transcripts, speakers, and what is unusable.

Transcripts are looked for, in this order: in a table, by a pattern on the file's name, in
`X.txt` beside `X.flac`, in LibriSpeech's `*.trans.txt` of the folder.
"""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Iterable, Optional, Sequence, Union

from sld_user_dir.errors import InputError, line_of
from sld_user_dir.features.signal_faults import FaultCounts
from sld_user_dir.features.waveform import AudioError, AudioInfo, check_length_limits, probe, read_audio, reject_reason
from sld_user_dir.files import printable
from sld_user_dir.manifests.audio_manifest import (
    COLUMNS,
    AudioManifestError,
    Recording,
    draw_share,
    numbered_recordings,
    refuse_same_ids,
)
from sld_user_dir.manifests.named_columns import cell_problem
from sld_user_dir.manifests.rejected import Rejected
from sld_user_dir.pipeline.recording_list import FoundRecordings, find_all, first_names
from sld_user_dir.pipeline.recording_table import REFUSED_COLUMNS, RENAME, read_table
from sld_user_dir.pipeline.transcript_files import (
    UnreadableTranscriptError,
    add_transcript,
    is_transcript,
    transcript_remarks,
)

logger = logging.getLogger(__name__)

NO_GROUPS = ({*COLUMNS} - {"text", "speaker"}) | REFUSED_COLUMNS.keys()
"""Columns of manifests that `--pattern` cannot fill"""


@dataclass(frozen=True)
class UsableAudio:
    """What counts as usable; seconds, both ends inclusive."""

    min_seconds: float = 0.1
    max_seconds: Optional[float] = None
    need_text: bool = True
    decode: bool = True
    """read every file to its end: finds what a header hides (truncation, NaN)"""

    def __post_init__(self) -> None:
        check_length_limits(self.min_seconds, self.max_seconds)


def list_recordings(
    root: Path,
    table: Optional[Path] = None,
    pattern: Optional[str] = None,
    folders: Sequence[str] = (),
    share: float = 1.0,
    lowercase: bool = False,
    rejected: Optional[list[Rejected]] = None,
    not_drawn: Optional[list[Recording]] = None,
) -> list[Recording]:
    """The recordings of a table, or else those found below `root`, with transcripts and speakers; unchecked.

    Args:
        pattern: regular expression of `add_pattern`, which has a named group and matches a name at least.
        folders: search only these below `root`, in this order.
        share: keep so many of them, drawn at random (`draw_share`).
        lowercase: transcripts in lower case.
        rejected: gets what is left out already: audio of endings that are not read, folders that cannot be listed,
            recordings whose transcripts cannot be read.
        not_drawn: gets the recordings that `share` leaves out.

    Raises:
        AudioManifestError: a bad table, no such folder, or two recordings have one id.
        InputError: no recordings, a bad pattern (or a group of `NO_GROUPS` in it) or share.
    """
    expression = None if pattern is None else _compiled(pattern)  # before anything is read
    found = FoundRecordings() if table else find_below(root, folders)
    recordings = read_table(table, root) if table else recordings_of(found, root)
    if not recordings:
        raise InputError(table or root, "no recordings found", "list some, one a line")
    if expression is not None:
        _say_unmatched(recordings, expression)
        recordings = [add_pattern(one, expression) for one in recordings]
    refuse_same_ids(recordings)
    if rejected is not None:
        rejected += _passed_over(found, root)
    for remark in (*found.remarks(is_transcript), *transcript_remarks(found.skipped, recordings)):
        logger.warning("%s: %s", root, remark)
    drawn = draw_share(recordings, share)
    if not_drawn is not None and len(drawn) < len(recordings):
        kept = {one.id for one in drawn}
        not_drawn += [one for one in recordings if one.id not in kept]
    recordings = _with_transcripts(drawn, rejected)
    return [replace(one, text=one.text.lower()) for one in recordings] if lowercase else recordings


def listed_recordings(path: Path) -> list[Recording]:
    """The recordings of a list of fairseq's, or of an audio manifest; unchecked.

    Raises:
        AudioManifestError: a bad list, or one of copies, whose speeds and warps a scan would set anew.
    """
    recordings = numbered_recordings(path)
    for number, one in recordings:
        if one.speed != 1 or one.warp != 1:
            problem = f"{printable(one.id)} is a copy already, of speed {one.speed:g} and warp {one.warp:g}"
            raise AudioManifestError(line_of(path, number), problem, "list originals: --speeds and --warps add copies")
    return [one for _, one in recordings]


def find_below(root: Path, folders: Sequence[str] = ()) -> FoundRecordings:
    """What is in `root`, or only in these folders below it, in their order.

    Raises:
        AudioManifestError: one of them is missing, or no folder.
        InputError: no recordings.
    """
    tops = [root / name for name in folders] or [root]
    for top in tops:
        if not top.is_dir():
            problem = "a file, not a folder" if top.exists() else "no such folder"
            raise AudioManifestError(top, problem, "check --root and --folders" if folders else "check --root")
    return find_all(tops)


def recordings_of(found: FoundRecordings, root: Path) -> list[Recording]:
    """With the path below `root`, without ending, as id."""
    return [Recording(_id_below(root, one.path), one.path) for one in found.recordings]


def _id_below(root: Path, path: Path) -> str:
    return str(path.relative_to(root).with_suffix(""))


def _passed_over(found: FoundRecordings, root: Path) -> list[Rejected]:
    unread = [
        Rejected(_id_below(root, path), path, f"the ending {path.suffix} is not read: convert it to .flac or .wav")
        for path in found.unread
    ]
    folders = [
        Rejected(str(path.relative_to(root)), path, f"the folder cannot be listed: {reason}")
        for path, reason in found.unreadable.items()
    ]
    return unread + folders


def _say_unmatched(recordings: Sequence[Recording], pattern: re.Pattern[str]) -> None:
    """Warn of recordings whose names a pattern does not match.

    Raises:
        InputError: it matches none.
    """
    stems = [one.path.stem for one in recordings if not pattern.fullmatch(one.path.stem)]
    if not stems:
        return
    problem = f"matches {len(recordings) - len(stems)} of {len(recordings)} names; not {first_names(stems)}"
    if len(stems) == len(recordings):
        raise InputError(f"--pattern {pattern.pattern}", problem, "it has to match a whole name, but for the ending")
    logger.warning("--pattern %s: %s", pattern.pattern, problem)


def _with_transcripts(recordings: Iterable[Recording], rejected: Optional[list[Rejected]]) -> list[Recording]:
    found: list[Recording] = []
    for one in recordings:
        try:
            found.append(add_transcript(one))
        except UnreadableTranscriptError as error:  # the others have theirs
            if rejected is None:
                raise
            rejected.append(Rejected(one.id, one.path, f"its transcript cannot be read: {error.problem}"))
    return found


def split_off_unlistable(recordings: Iterable[Recording]) -> tuple[list[Recording], list[Rejected]]:
    """Recordings that a manifest can list, and those whose names it cannot hold: Latin-1, tabs, line breaks."""
    listable: list[Recording] = []
    rejected: list[Rejected] = []
    for one in recordings:
        problem = cell_problem(one.id, first=True) or cell_problem(str(one.path))
        if problem:
            rejected.append(Rejected(one.id, one.path, f"its name {problem}: rename it"))
        else:
            listable.append(one)
    return listable, rejected


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        problem = f"no regular expression of Python's: {error}"
        raise InputError(f"--pattern {pattern}", problem, r"write it like '(?P<text>\w+)_(?P<speaker>\w+)'") from None
    if not expression.groupindex:
        problem = "has no named group, of which a column could be made"
        raise InputError(f"--pattern {pattern}", problem, r"name them, as in '(?P<text>\w+)_(?P<speaker>\w+)'")
    for name in expression.groupindex:
        if name in NO_GROUPS:
            problem = f"a group {name}, which no name of a file tells"
            raise InputError(f"--pattern {pattern}", problem, RENAME)
    return expression


def add_pattern(recording: Recording, pattern: re.Pattern[str]) -> Recording:
    """Columns from the file's stem by named groups: `(?P<text>\\d)_(?P<speaker>\\w+)_(?P<take>\\d+)`."""
    match = pattern.fullmatch(recording.path.stem)
    if not match:
        return recording
    groups = {name: value or "" for name, value in match.groupdict().items()}
    text = groups.pop("text", recording.text)
    speaker = groups.pop("speaker", recording.speaker)
    return replace(recording, text=text, speaker=speaker, fields={**recording.fields, **groups})


def check(recordings: list[Recording], limits: UsableAudio, workers: int = 4) -> tuple[list[Recording], list[Rejected]]:
    """Sort recordings into usable ones, with length and rate filled in, and rejected ones.

    One of another length or rate than its list says is rejected, too. Order is kept; decoding runs in threads
    (libsndfile releases Python's lock).

    Raises:
        InputError: fewer than one worker.
    """
    if workers < 1:
        raise InputError(f"--workers {workers}", "no threads to decode with", "take 1 or more")
    good: list[Recording] = []
    bad: list[Rejected] = []
    faults = FaultCounts()
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda one: _check_one(one, limits, faults), recordings)
        for done, result in enumerate(results, 1):
            if isinstance(result, Rejected):
                bad.append(result)
            else:
                good.append(result)
            if done % 10_000 == 0:
                logger.info("checked %d of %d recordings, %d unusable", done, len(recordings), len(bad))
    faults.warn()
    return good, bad


def _check_one(recording: Recording, limits: UsableAudio, faults: FaultCounts) -> Union[Recording, Rejected]:
    try:
        if limits.decode:
            wave, rate = read_audio(recording.path, recording.n_samples, faults, recording.sample_rate)
            info = AudioInfo(len(wave), rate)
        else:
            info = probe(recording.path, recording.n_samples, recording.sample_rate)
    except AudioError as error:
        return Rejected(recording.id, recording.path, error.reason)
    reason = reject_reason(info.seconds, limits.min_seconds, limits.max_seconds)
    if reason is None and limits.need_text and not recording.text.strip():
        reason = "no transcript"
    if reason:
        return Rejected(recording.id, recording.path, reason)
    return replace(recording, n_samples=info.n_samples, sample_rate=info.sample_rate_hz)
