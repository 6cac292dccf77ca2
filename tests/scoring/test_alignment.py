"""The alignment by bit vectors against the matrix of costs, cell by cell; long references in little memory."""

import random
import time
import tracemalloc
from typing import List, Optional, Sequence, Tuple

import editdistance
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sld_user_dir.scoring import alignment
from sld_user_dir.scoring.alignment import align
from sld_user_dir.scoring.edits import ErrorCounts, edit_distance, error_counts

SEQUENCES = st.lists(st.sampled_from("abc"), max_size=20)
SMALL, USUAL = 1, alignment.BITS_AT_ONCE


def cell_by_cell(reference: Sequence[str], hypothesis: Sequence[str]) -> List[Tuple[Optional[str], Optional[str]]]:
    """What `align` is defined to give: of equal costs a pair, else a deletion, else an insertion, from the end on."""
    cost = [[i + j for j in range(len(hypothesis) + 1)] for i in range(len(reference) + 1)]
    for i, r in enumerate(reference, 1):
        for j, h in enumerate(hypothesis, 1):
            cost[i][j] = min(cost[i - 1][j - 1] + (r != h), cost[i - 1][j] + 1, cost[i][j - 1] + 1)
    pairs, i, j = [], len(reference), len(hypothesis)
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (reference[i - 1] != hypothesis[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((reference[i], hypothesis[j]))
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            pairs.append((reference[i], None))
        else:
            j -= 1
            pairs.append((None, hypothesis[j]))
    return pairs[::-1]


@pytest.mark.parametrize("bits_at_once", [SMALL, USUAL])
@given(SEQUENCES, SEQUENCES)
def test_the_alignment_is_the_one_that_is_defined(bits_at_once, reference, hypothesis):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "BITS_AT_ONCE", bits_at_once)  # SMALL: rows are made again on the way back
        assert align(reference, hypothesis) == cell_by_cell(reference, hypothesis)
    assert edit_distance(reference, hypothesis) == editdistance.eval(reference, hypothesis)


def spoken(n_words: int, seed: int = 0) -> Tuple[List[str], List[str]]:
    """A reference, and a hypothesis with about 15 % errors."""
    draw = random.Random(seed)
    words = [f"w{i}" for i in range(n_words // 4)]
    reference = [draw.choice(words) for _ in range(n_words)]
    hypothesis: List[str] = []
    for word in reference:
        kind = draw.random()
        hypothesis += [draw.choice(words)] if kind < 0.08 else [] if kind < 0.12 else [word]
        hypothesis += [draw.choice(words)] if kind > 0.97 else []
    return reference, hypothesis


@pytest.mark.parametrize("bits_at_once", [SMALL, USUAL])
@pytest.mark.parametrize("seed", range(3))
def test_texts_of_a_few_hundred_words(bits_at_once, seed, monkeypatch):
    monkeypatch.setattr(alignment, "BITS_AT_ONCE", bits_at_once)
    reference, hypothesis = spoken(200 + 50 * seed, seed)
    assert align(reference, hypothesis) == cell_by_cell(reference, hypothesis)
    assert edit_distance(reference, hypothesis) == editdistance.eval(reference, hypothesis)


def test_ties_are_split_as_defined():
    # of equal costs the pair goes first, from the end: the split into kinds is defined, not left to chance
    assert error_counts(["a", "b"], ["b", "c"]) == ErrorCounts(2, substitutions=2)
    assert align(["a"], ["a", "a"]) == [(None, "a"), ("a", "a")]
    assert align(["a", "a"], ["a"]) == [("a", None), ("a", "a")]
    assert align(["x", "a"], ["a", "y"]) == [("x", "a"), ("a", "y")]


@pytest.mark.parametrize("length", [640, 641, 700])
def test_the_distance_is_the_same_on_both_sides_of_the_change(length):
    draw = random.Random(length)
    one, other = ("".join(draw.choice("abc ") for _ in range(length)) for _ in range(2))
    assert edit_distance(one, other) == editdistance.eval(one, other)
    assert edit_distance(one, one) == 0 and edit_distance(one, "") == length


def test_twelve_thousand_words_in_one_line():
    """It took 92 s and 6.1 GB to fill a matrix, and 13 s for the characters."""
    reference, hypothesis = spoken(12_000)
    start = time.process_time()
    tracemalloc.start()
    counts = error_counts(reference, hypothesis)
    n_characters = edit_distance(" ".join(reference), " ".join(hypothesis))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts.errors == edit_distance(reference, hypothesis) and counts.reference_length == 12_000
    assert len(hypothesis) - 12_000 == counts.insertions - counts.deletions
    assert counts.errors <= n_characters
    assert peak < 32 * 2**20
    assert time.process_time() - start < 30
