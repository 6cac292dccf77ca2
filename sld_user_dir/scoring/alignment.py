"""Cheapest alignment of long sequences, a row of the cost matrix in a few operations.

Notation: C[i, j] is the distance of the first i reference tokens and the first j hypothesis tokens. Neighbours in C
differ by -1, 0 or 1, so a row is a pair of bit vectors over the hypothesis, here whole numbers of Python of any length
(Myers 1999, "A fast bit-vector algorithm for approximate string matching based on dynamic programming"; Hyyrö 2003,
"A bit-vector algorithm for computing Levenshtein and Damerau edit distances").
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from math import isqrt
from typing import Callable, NamedTuple, Optional, Sequence

Pair = tuple[Optional[str], Optional[str]]
"""(reference token, hypothesis token); None on one side marks an insertion or a deletion."""
BITS_AT_ONCE = 2**23
"""Cells of the cost matrix whose decisions are kept at a time at least: 2 bits each."""
MASKS_KEPT = 512


class CostRow(NamedTuple):
    """Row i of the cost matrix as differences of neighbours; bit j - 1 stands for column j."""

    rises: int
    """C[i, j] = C[i, j - 1] + 1"""
    falls: int
    """C[i, j] = C[i, j - 1] - 1"""


class RowDecisions(NamedTuple):
    """What the cheapest way to each cell of a row may not, and may, end with."""

    no_pair: int
    """cells that no pair of tokens leads to"""
    deletion: int
    """cells that a deletion leads to"""


class HypothesisColumns:
    """The hypothesis: in which columns each token stands."""

    def __init__(self, hypothesis: Sequence[str]):
        self.count = len(hypothesis)
        self.all = (1 << self.count) - 1
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, token in enumerate(hypothesis):
            self._places[token].append(place)
        self.equal_to: Callable[[str], int] = lru_cache(MASKS_KEPT)(self._mask)
        """columns of a token, as bits"""

    def _mask(self, token: str) -> int:
        bits = bytearray((self.count >> 3) + 1)
        for place in self._places.get(token, ()):
            bits[place >> 3] |= 1 << (place & 7)
        return int.from_bytes(bits, "little")

    def first_row(self) -> CostRow:
        """Row 0: C[0, j] = j."""
        return CostRow(self.all, 0)

    def next_row(self, row: CostRow, token: str) -> tuple[CostRow, RowDecisions]:
        """The row below, of this reference token, and the decisions in it."""
        rises, falls = row
        equal = self.equal_to(token)
        same = ((((equal & rises) + rises) ^ rises) | equal | falls) & self.all  # C[i, j] = C[i - 1, j - 1]
        deeper = falls | (self.all ^ (same | rises))  # C[i, j] = C[i - 1, j] + 1
        shifted = ((deeper << 1) | 1) & self.all  # column 0 is one deeper, too
        below = CostRow((((same & rises) << 1) & self.all) | (self.all ^ (same | shifted)), shifted & same)
        return below, RowDecisions(same & ~equal, deeper)


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    """A cheapest alignment; all edits cost 1 (sclite weighs them 4/3/3, so its split can differ).

    Among equal costs, pairs go before deletions before insertions, read from the end.

    Every `step`-th row is kept on the way down. On the way back the rows between two of them are made again, with
    their decisions: twice the time of the distance, and memory for 2 sqrt(n) rows instead of all n.
    """
    end = _common_end(reference, hypothesis)  # such tokens are pairs in any case
    tail: list[Pair] = [(token, token) for token in reference[len(reference) - end :]]
    reference, hypothesis = reference[: len(reference) - end], hypothesis[: len(hypothesis) - end]
    columns = HypothesisColumns(hypothesis)
    step = max(isqrt(len(reference)), BITS_AT_ONCE // (columns.count + 1), 1)
    starts = range(0, len(reference), step)
    kept = [columns.first_row()]
    for start in starts[:-1]:
        row = kept[-1]
        for token in reference[start : start + step]:
            row = columns.next_row(row, token)[0]
        kept.append(row)

    backwards: list[Pair] = []
    j = len(hypothesis)
    for start in reversed(starts):
        tokens = reference[start : start + step]
        j = _walk_back(tokens, hypothesis, columns, kept.pop(), j, backwards)
    backwards.extend((None, token) for token in reversed(hypothesis[:j]))
    return backwards[::-1] + tail


def _walk_back(
    tokens: Sequence[str],
    hypothesis: Sequence[str],
    columns: HypothesisColumns,
    row: CostRow,
    j: int,
    pairs: list[Pair],
) -> int:
    """Append the alignment of some rows to `pairs`, last pair first.

    Args:
        tokens: of the reference, a row each.
        row: the one above them.
        j: columns that are not yet aligned.

    Returns:
        Columns that the rows above are to be aligned with.
    """
    decisions = []
    for token in tokens:
        row, decision = columns.next_row(row, token)
        decisions.append(decision)
    for token, (no_pair, deletion) in zip(reversed(tokens), reversed(decisions)):
        while j and no_pair >> (j - 1) & 1 and not deletion >> (j - 1) & 1:
            j -= 1
            pairs.append((None, hypothesis[j]))
        if j and not no_pair >> (j - 1) & 1:
            j -= 1
            pairs.append((token, hypothesis[j]))
        else:
            pairs.append((token, None))
    return j


def _common_end(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """How many tokens both end with."""
    count = 0
    for one, other in zip(reversed(reference), reversed(hypothesis)):
        if one != other:
            break
        count += 1
    return count
