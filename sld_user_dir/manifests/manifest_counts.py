"""How much a manifest holds, counted line by line and not by the readers whose work the counts are to check."""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from sld_user_dir.errors import InputError
from sld_user_dir.files import iter_lines, whole_number
from sld_user_dir.ledger.ledger_entry import Counts
from sld_user_dir.manifests.audio_manifest import Recording
from sld_user_dir.manifests.header import read_header
from sld_user_dir.manifests.unit_manifest import Utterance, parse_head
from sld_user_dir.manifests.unit_text import parse_numbers


def unit_manifest_counts(path: Path, lengths: bool = True) -> Counts:
    """`utterances`, `units`, `words`; `frames` and `samples`, where all rows tell them.

    Args:
        lengths: read the columns that tell frames and samples.

    Raises:
        InputError: a file that cannot be read, or durations that are none.
    """
    lines = iter_lines(path)
    head = _head(lines)
    entries, _ = read_header(path, head, InputError)
    columns = head[-1].split("\t") if head else []
    if not lengths:
        columns = [name if name not in ("durations", "n_samples") else "" for name in columns]
    stated = entries.get("provenance")
    made_by = stated if isinstance(stated, dict) else {}
    a_unit_is_a_frame = not made_by.get("deduplicated") and made_by.get("subword") is None
    counts = _row_counts(lines, columns, a_unit_is_a_frame)
    return dict(sorted(counts.items()))


def frames_of_units(path: Path) -> npt.NDArray[np.int64]:
    """How many frames each unit has in a manifest, (K,).

    Raises:
        InputError: no unit manifest.
        ValueError: units or durations that are none.
    """
    lines = iter_lines(path)
    head = _head(lines)
    _, made_by, _ = parse_head(path, head)
    columns = head[-1].split("\t")
    units_at = columns.index("units")
    frames_at = columns.index("durations") if "durations" in columns else None
    counts = np.zeros(made_by.num_units, np.int64)
    for line in lines:
        row = line.split("\t")
        durations = None if frames_at is None else parse_numbers(row[frames_at])
        counts += np.bincount(parse_numbers(row[units_at]), durations, len(counts)).astype(np.int64)
    return counts


def _head(lines: Iterator[str]) -> list[str]:
    """The lines up to the names of the columns."""
    head: list[str] = []
    for line in lines:
        head.append(line)
        if not line.startswith("#"):
            break
    return head


def _row_counts(lines: Iterator[str], columns: list[str], a_unit_is_a_frame: bool) -> Counts:
    place = {name: i for i, name in enumerate(columns)}
    units_at, text_at, frames_at, samples_at = (place.get(n) for n in ("units", "text", "durations", "n_samples"))
    utterances = units = words = frames = samples = 0
    lengths_known = samples_at is not None
    for line in lines:
        row = line.split("\t")
        utterances += 1
        units += how_many(row[units_at]) if units_at is not None else 0
        words += len(row[text_at].split()) if text_at is not None else 0
        if frames_at is not None:
            frames += int(parse_numbers(row[frames_at]).sum())
        if samples_at is not None and lengths_known:
            length = whole_number(row[samples_at])
            lengths_known = length is not None
            samples += length or 0
    counts = {"utterances": utterances, "units": units, "words": words}
    if frames_at is not None or a_unit_is_a_frame:
        counts["frames"] = frames if frames_at is not None else units
    if utterances and lengths_known:
        counts["samples"] = samples
    return counts


def how_many(numbers: str) -> int:
    """How many numbers a list of them has, as in `71 12 57`."""
    doubtful = "  " in numbers or numbers[:1] in ("", " ") or numbers[-1] == " "
    return len(numbers.split()) if doubtful else numbers.count(" ") + 1  # ten times as fast


def recording_counts(recordings: Iterable[Recording]) -> Counts:
    """`utterances` and `words`; `samples`, where all lengths are known."""
    utterances = words = samples = 0
    known = True
    for one in recordings:
        utterances += 1
        words += len(one.text.split())
        known = known and one.n_samples is not None
        samples += one.n_samples or 0
    counts = {"utterances": utterances, "words": words}
    return {**counts, "samples": samples} if known and utterances else counts


def utterance_counts(one: Utterance) -> Counts:
    """The same measures of one utterance; frames are its units where it has no durations."""
    frames = len(one.units) if one.durations is None else int(one.durations.sum())
    samples = whole_number(one.fields.get("n_samples", ""))
    counts = {"utterances": 1, "units": len(one.units), "words": len(one.text.split()), "frames": frames}
    return {**counts, "samples": samples} if samples is not None else counts
