"""What each stage over recordings and manifests counted, written beside its output.

Inputs, outputs and tables of what was left out are counted again, from the files: a stage that loses something without
a word cannot say that it did not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, Optional, Sequence

from sld_user_dir.ledger.ledger_entry import Change, Counts, Flow, LedgerEntry, changes
from sld_user_dir.ledger.ledger_file import write_ledger
from sld_user_dir.manifests.audio_manifest import Recording, read_audio_manifest
from sld_user_dir.manifests.manifest_counts import recording_counts, unit_manifest_counts
from sld_user_dir.manifests.rejected import Rejected, read_rejected, rejected_path
from sld_user_dir.pipeline.length_limits import LengthLimits, TooLong


def audio_ledger(out: Path, source: Path, found: int, copies: int, not_drawn: int) -> None:
    """Of `sld audio`.

    Args:
        source: the folder, or the list, that the recordings come from.
        found: what is there: recordings, and what is none that can be read.
        copies: that perturbation adds.
        not_drawn: recordings that `--share` left out.
    """
    lost = changes((one.reason, {"utterances": 1}) for one in read_rejected(rejected_path(out)))
    lost += [Change("not drawn (--share)", {"utterances": not_drawn})] if not_drawn else []
    gained = [Change("copies at other speeds or by other voices (--warps)", {"utterances": copies})] if copies else []
    counts = recording_counts(read_audio_manifest(out))
    write_ledger(LedgerEntry("audio", out, counts, [Flow([source], {"utterances": found}, lost, gained)]))


def units_ledger(out: Path, audio: Path, stage: str = "units") -> None:
    """Of a stage from an audio manifest to a unit manifest."""
    recordings = read_audio_manifest(audio)
    lost = changes(_with_counts(read_rejected(rejected_path(out)), recordings))
    flow = Flow([audio], recording_counts(recordings), lost)
    write_ledger(LedgerEntry(stage, out, unit_manifest_counts(out), [flow]))


def kmeans_ledger(
    out: Path, audio: Path, recordings: Sequence[Recording], drawn: Iterable[Recording], frames: int
) -> None:
    """Of `sld kmeans`.

    Args:
        recordings: all of `audio`.
        drawn: those to learn from, and those held out.
        frames: that they have.
    """
    chosen = {one.id for one in drawn}
    rejected = read_rejected(rejected_path(out))
    not_drawn = recording_counts(one for one in recordings if one.id not in chosen)
    lost = changes(_with_counts(rejected, recordings))
    lost += [Change("not drawn: there are frames enough", not_drawn)] if not_drawn["utterances"] else []
    unusable = {one.id for one in rejected}
    used = recording_counts(one for one in recordings if one.id in chosen - unusable)
    flow = Flow([audio], recording_counts(recordings), lost)
    write_ledger(LedgerEntry("kmeans", out, {**used, "frames": frames}, [flow]))


def _with_counts(rejected: Iterable[Rejected], recordings: Iterable[Recording]) -> Iterable[tuple[str, Counts]]:
    by_id = {one.id: one for one in recordings}
    for one in rejected:
        yield one.reason, recording_counts([by_id[one.id]])


def limit_ledger(out: Path, source: Path, limits: LengthLimits, too_long: Sequence[TooLong]) -> None:
    """Of `sld limit`."""
    within = f"{limits.max_tokens} tokens"
    within += f" or {limits.max_text_tokens} of text" if limits.max_text_tokens is not None else ""
    cut = ", and cut" if limits.too_long == "truncate" else ""
    lost = changes((f"longer than {within}{cut}", one.lost) for one in too_long)
    manifest_ledger("limit", out, source, lost)


def manifest_ledger(
    stage: str, out: Path, source: Path, lost: Optional[list[Change]] = None, converted: tuple[str, ...] = ()
) -> None:
    """Of a stage from a unit manifest to another one."""
    flow = Flow([source], unit_manifest_counts(source), lost or [], converted=converted)
    write_ledger(LedgerEntry(stage, out, unit_manifest_counts(out), [flow]))
