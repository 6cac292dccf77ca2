"""Records to a report: WER and CER of a system, where its errors are, and a comparison of two.

    records = read_generate("results/generate-test.txt", manifest)
    report = score(records, TextNormalization(lowercase=True), by=["speaker"])
    report["wer"]["rate"], report["cer"]["rate"]        # percent
    print(format_report(report))

A report is a dict of plain Python values, ready for JSON.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any, Optional, Sequence

from sld_user_dir.errors import InputError
from sld_user_dir.scoring.alignment import align
from sld_user_dir.scoring.edits import ErrorCounts, TextNormalization, edit_distance, error_counts, format_alignment
from sld_user_dir.scoring.hypotheses import DecodedUtterance
from sld_user_dir.scoring.significance import bootstrap_interval, paired_bootstrap

__all__ = ["compare", "error_counts", "format_comparison", "format_report", "has_loop", "score", "score_records"]

Report = dict[str, Any]
AS_IS = TextNormalization()
"""No change but of white space and Unicode composition."""
LENGTH_BUCKETS = (5, 10, 20, 40)
"""Upper ends, in reference words, of the buckets of the breakdown by length; the last one is open."""
NAME_WIDTH = 24
COLUMN_WIDTHS = (7, 8, 7, 7, 7, 9)
"""Of the table's numbers at least: a hypothesis that loops can have hundreds of thousands of insertions."""
_LONGEST_LOOP_WORDS = 4
_LOOP_TIMES = 3


@dataclass(frozen=True)
class Scored:
    """One utterance after normalisation, with its counts."""

    record: DecodedUtterance
    reference: list[str]
    hypothesis: list[str]
    words: ErrorCounts
    char_errors: int
    chars: int
    repeats: bool
    """A block of 1 to 4 words stands 3 times or more in a row, and more often than in the reference."""
    truncated: Optional[bool]
    """The hypothesis is as long as the limit; None when the limit or the number of tokens is unknown."""


def score_records(
    records: Sequence[DecodedUtterance], normalization: TextNormalization, max_len: Optional[int] = None
) -> list[Scored]:
    """Count the edits of each utterance's best hypothesis.

    Args:
        normalization: applied to both sides
        max_len: the limit of transcript tokens that decoding ran with, to count truncated hypotheses

    Raises:
        InputError: an utterance without reference.
    """
    return [_score_record(record, normalization, max_len) for record in records]


def score(
    records: Sequence[DecodedUtterance],
    normalization: TextNormalization = AS_IS,
    by: Sequence[str] = (),
    worst: int = 10,
    max_len: Optional[int] = None,
) -> Report:
    """Score one system.

    Args:
        by: names of fields to break the WER down by (`test_set`, `speaker`, …), beside length
        worst: how many of the worst utterances to show aligned
    """
    scored = score_records(records, normalization, max_len)
    words = _total(scored)
    errors, lengths = [s.words.errors for s in scored], [s.words.reference_length for s in scored]
    truncated = [utterance.truncated for utterance in scored if utterance.truncated is not None]
    return {
        "utterances": len(scored),
        "normalization": asdict(normalization),
        "wer": {**_rate(words), "interval_95": bootstrap_interval(errors, lengths)},
        "cer": _char_rate(scored),
        "sentence_error_rate": 100.0 * sum(s.words.errors > 0 for s in scored) / len(scored),
        "repetitions": sum(s.repeats for s in scored),
        "truncated": sum(truncated) if truncated else None,
        "empty_hypotheses": sum(not s.hypothesis for s in scored),
        "by": {"length": _by_length(scored), **{name: _by_field(scored, name) for name in by}},
        "worst": [_show(s) for s in sorted(scored, key=lambda s: -s.words.errors)[:worst] if s.words.errors],
    }


def compare(
    records_a: Sequence[DecodedUtterance],
    records_b: Sequence[DecodedUtterance],
    normalization: TextNormalization = AS_IS,
    block: Optional[str] = None,
    draws: int = 10_000,
) -> Report:
    """Paired bootstrap of two systems' WER on the same utterances; `block` names a field to draw by.

    Raises:
        InputError: the two sets of ids, or a reference, differ.
    """
    a = {s.record.id: s for s in score_records(records_a, normalization)}
    b = {s.record.id: s for s in score_records(records_b, normalization)}
    differing = sorted(a.keys() ^ b.keys()) or [id_ for id_ in a if a[id_].reference != b[id_].reference]
    if differing:
        what = f"the systems differ in utterance {differing[0]!r}"
        raise InputError(None, what, "compare outputs for the same references")
    comparison = paired_bootstrap(
        [s.words.errors for s in a.values()],
        [b[id_].words.errors for id_ in a],
        [s.words.reference_length for s in a.values()],
        blocks=[_field(s, block) for s in a.values()] if block else None,
        draws=draws,
    )
    return asdict(comparison)


def format_report(report: Report) -> str:
    """The report as a table, with the worst utterances aligned below it."""
    rows = [_row("WER", report["utterances"], report["wer"]), _row("CER", report["utterances"], report["cer"])]
    for name, groups in report["by"].items():
        rows += [[f"by {name}"]] + [_row(f"  {group}", r["utterances"], r) for group, r in groups.items()]
    cells = [row for row in rows if len(row) > 1]
    widths = [max(width, *(len(row[i]) + 1 for row in cells)) for i, width in enumerate(COLUMN_WIDTHS, 1)]
    header = _aligned(["", "utts", "ref", "sub", "del", "ins", "rate %"], widths)
    lines = [header, "-" * len(header)] + [_aligned(row, widths) for row in rows]
    low, high = report["wer"]["interval_95"]
    truncated = "unknown (give the limit)" if report["truncated"] is None else report["truncated"]
    lines += [
        "",
        f"WER, 95 % bootstrap interval: {low:.2f} to {high:.2f}; wrong sentences {report['sentence_error_rate']:.1f} %",
        f"repetitions {report['repetitions']}, truncated {truncated}, empty {report['empty_hypotheses']}",
        f"normalisation of both sides: {report['normalization']}",
    ]
    for utterance in report["worst"]:
        errors = f"{utterance['errors']} errors in {utterance['reference_length']}"
        lines += ["", f"{utterance['id']}  {errors}", utterance["alignment"]]
    return "\n".join(lines)


def format_comparison(comparison: Report) -> str:
    """One paragraph on a comparison made by `compare`."""
    low, high = comparison["interval"]
    return (
        f"WER {comparison['rate_a']:.2f} -> {comparison['rate_b']:.2f}: difference {comparison['difference']:+.2f} "
        f"(95 % interval {low:+.2f} to {high:+.2f}), better in {100 * comparison['probability_of_improvement']:.1f} % "
        f"of {comparison['draws']} draws"
    )


def has_loop(words: Sequence[str], reference: Sequence[str] = ()) -> bool:
    """Whether a block of up to 4 words is said 3 times or more in a row, and more often than in the reference."""
    return any(
        times >= _LOOP_TIMES and times > _longest_run(reference, size)
        for size in range(1, _LONGEST_LOOP_WORDS + 1)
        for times in [_longest_run(words, size)]
    )


def _longest_run(words: Sequence[str], size: int) -> int:
    """How often a block of `size` words follows itself, at most."""
    longest = same = 0
    for i in range(size, len(words)):
        same = same + 1 if words[i] == words[i - size] else 0
        longest = max(longest, same // size)
    return longest + 1 if len(words) >= size else 0


def _score_record(record: DecodedUtterance, normalization: TextNormalization, max_len: Optional[int]) -> Scored:
    if record.reference is None:
        raise InputError(None, f"utterance {record.id!r} has no reference (no T- line)", "give its manifest")
    reference, hypothesis = normalization(record.reference), normalization(record.best.text)
    tokens = len(record.best.positional_scores) - 1  # the last score is the end symbol's
    return Scored(
        record=record,
        reference=reference.split(),
        hypothesis=hypothesis.split(),
        words=error_counts(reference.split(), hypothesis.split()),
        char_errors=edit_distance(reference, hypothesis),
        chars=len(reference),
        repeats=has_loop(hypothesis.split(), reference.split()),
        truncated=None if max_len is None or tokens < 0 else tokens >= max_len,
    )


def _total(scored: Sequence[Scored]) -> ErrorCounts:
    return sum((s.words for s in scored), ErrorCounts())


def _rate(words: ErrorCounts) -> Report:
    return {**asdict(words), "errors": words.errors, "rate": words.rate}


def _char_rate(scored: Sequence[Scored]) -> Report:
    """Characters, the space between words among them; distances only, so no split into edits."""
    errors, length = sum(s.char_errors for s in scored), sum(s.chars for s in scored)
    return {"reference_length": length, "errors": errors, "rate": 100.0 * errors / length if length else None}


def _group(scored: Sequence[Scored]) -> Report:
    return {"utterances": len(scored), **_rate(_total(scored))}


def _by_length(scored: Sequence[Scored]) -> dict[str, Report]:
    lower_ends = (0,) + tuple(end + 1 for end in LENGTH_BUCKETS)
    names = [f"{low}-{high} words" for low, high in zip(lower_ends, LENGTH_BUCKETS)] + [f"{lower_ends[-1]}+ words"]
    groups: dict[str, list[Scored]] = {name: [] for name in names}
    for s in scored:
        groups[names[sum(len(s.reference) > end for end in LENGTH_BUCKETS)]].append(s)
    return {name: _group(members) for name, members in groups.items() if members}


def _by_field(scored: Sequence[Scored], name: str) -> dict[str, Report]:
    groups: dict[str, list[Scored]] = defaultdict(list)
    for s in scored:
        groups[_field(s, name)].append(s)
    return {value: _group(members) for value, members in sorted(groups.items())}


def _field(scored: Scored, name: str) -> str:
    if name not in scored.record.fields:
        raise InputError(
            None,
            f"utterance {scored.record.id!r} has no field {name!r}, only {sorted(scored.record.fields)}",
            "give a manifest with that column",
        )
    return scored.record.fields[name]


def _show(scored: Scored) -> Report:
    alignment = format_alignment(align(scored.reference, scored.hypothesis))
    words = scored.words
    rate = {"errors": words.errors, "reference_length": words.reference_length}
    return {"id": scored.record.id, **rate, "alignment": alignment}


def _row(name: str, utterances: int, rate: Report) -> list[str]:
    edits = [str(rate.get(kind, "")) for kind in ("substitutions", "deletions", "insertions")]
    percent = "-" if rate["rate"] is None else f"{rate['rate']:.2f}"
    return [name[:NAME_WIDTH], str(utterances), str(rate["reference_length"]), *edits, percent]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return (row[0].ljust(NAME_WIDTH) + "".join(cell.rjust(width) for cell, width in zip(row[1:], widths))).rstrip()
