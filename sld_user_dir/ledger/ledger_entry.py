"""What one stage counted: in, out, and each loss with its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional

from sld_user_dir.errors import InputError

Counts = dict[str, int]
"""Measure to number: `utterances`, `samples` of the files, `frames`, `units`, `words`."""
MEASURES = ("utterances", "units", "words", "frames", "samples")
"""In the order in which they are told."""
REASONS_KEPT = 50
"""A reason may hold a number, so that each recording has its own: the rest of them share one line."""


class LedgerError(InputError):
    """Counts that do not agree, or a file of counts that cannot be read."""


@dataclass(frozen=True)
class Change:
    """What was left out, or added, for one reason."""

    reason: str
    counts: Counts


@dataclass(frozen=True)
class Flow:
    """From some files to what a stage wrote.

    A measure that is counted on both sides must balance: `counts` and what was gained make the output and what was
    lost. Measures of one side alone, such as the units that are made of samples, are only told.
    """

    files: list[Path]
    """that are counted together; the folder, where recordings are looked for"""
    counts: Counts
    lost: list[Change] = field(default_factory=list)
    gained: list[Change] = field(default_factory=list)
    converted: tuple[str, ...] = ()
    """measures that the stage turns into others: units that become subwords"""

    def expected(self, measure: str) -> int:
        """What must come out of `measure`."""
        gained = sum(one.counts.get(measure, 0) for one in self.gained)
        return self.counts[measure] + gained - sum(one.counts.get(measure, 0) for one in self.lost)


@dataclass(frozen=True)
class LedgerEntry:
    """A stage's flows into one output."""

    stage: str
    out: Optional[Path]
    """None where the output is no file, such as the batches of a training"""
    counts: Counts
    flows: list[Flow]
    hashes: Mapping[Path, str] = field(default_factory=dict)
    """SHA-256 of files when they were counted"""

    def problems(self) -> list[str]:
        """What does not balance; empty where nothing was lost without a reason."""
        found = []
        for flow in self.flows:
            names = ", ".join(path.name for path in flow.files)
            balanced = (name for name in shared_measures(flow.counts, self.counts) if name not in flow.converted)
            for measure in balanced:
                expected, out = flow.expected(measure), self.counts[measure]
                if expected != out:
                    found.append(
                        f"{self.stage}: {flow.counts[measure]:,} {measure} of {names} less the losses are "
                        f"{expected:,}, but {out:,} came out"
                    )
        return found


def changes(items: Iterable[tuple[str, Counts]], more: str = "other reasons") -> list[Change]:
    """The counts of items that share a reason, added up; the most frequent reasons first.

    Args:
        items: the reason and the counts of each.
        more: how to call the reasons beyond the first `REASONS_KEPT`.
    """
    added: dict[str, Counter[str]] = {}
    for reason, counts in items:
        added.setdefault(reason, Counter()).update(counts)
    ordered = sorted(added.items(), key=lambda one: (-one[1]["utterances"], one[0]))
    kept, rest = ordered[:REASONS_KEPT], ordered[REASONS_KEPT:]
    if rest:
        together: Counter[str] = Counter()
        for _, counts in rest:
            together.update(counts)
        kept.append((more, together))
    return [Change(reason, dict(sorted(counts.items()))) for reason, counts in kept]


def shared_measures(one: Iterable[str], other: Iterable[str]) -> list[str]:
    """Those that both have, in the order of `MEASURES`."""
    return in_order(set(one) & set(other))


def in_order(measures: Iterable[str]) -> list[str]:
    """Measures in the order of `MEASURES`; others behind them."""
    return sorted(measures, key=lambda name: (MEASURES.index(name) if name in MEASURES else len(MEASURES), name))


def total(tables: Iterable[Mapping[str, int]]) -> Counts:
    """Sums of the measures that all tables have."""
    tables = list(tables)
    shared = set.intersection(*(set(one) for one in tables)) if tables else set()
    return {measure: sum(one[measure] for one in tables) for measure in sorted(shared)}


def as_json(changed: Iterable[Change]) -> list[dict[str, Any]]:
    """Changes as JSON values."""
    return [{"reason": one.reason, "counts": one.counts} for one in changed]
