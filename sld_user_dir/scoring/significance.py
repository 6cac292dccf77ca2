"""How far a word error rate, or the difference of two, could be luck.

Bootstrap of Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation" (ICASSP 2004): utterances are drawn with replacement, both systems on the same draw.
Utterances of one speaker are not independent; `blocks` draws whole speakers instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np

from sld_user_dir.errors import InputError

_DRAWS_AT_ONCE = 256


@dataclass(frozen=True)
class Comparison:
    """System B against system A; all rates in percent, differences are B - A (negative: B is better)."""

    rate_a: float
    rate_b: float
    difference: float
    interval: tuple[float, float]
    """95 % percentile interval of the difference."""
    probability_of_improvement: float
    """Share of draws in which B makes fewer errors than A (ties count half)."""
    draws: int


def bootstrap_interval(
    errors: Sequence[int],
    lengths: Sequence[int],
    blocks: Optional[Sequence[str]] = None,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % percentile interval, in percent, of sum(errors) / sum(lengths) over utterances."""
    sums = resample(np.stack([errors, lengths], axis=1), blocks, draws, seed)  # (draws, 2)
    low, high = np.percentile(100.0 * sums[:, 0] / sums[:, 1], [2.5, 97.5])
    return float(low), float(high)


def paired_bootstrap(
    errors_a: Sequence[int],
    errors_b: Sequence[int],
    lengths: Sequence[int],
    blocks: Optional[Sequence[str]] = None,
    draws: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on the same utterances.

    Args:
        errors_a: edits of each utterance by the first system
        errors_b: edits by the second one, in the same order
        lengths: reference tokens of each utterance
        blocks: label of each utterance (its speaker) to draw whole blocks; None draws utterances

    Raises:
        InputError: not as many numbers for each, or no reference token.
    """
    if not len(errors_a) == len(errors_b) == len(lengths):
        raise InputError(
            None, f"{len(errors_a)}, {len(errors_b)} and {len(lengths)} utterances", "both systems need the same"
        )
    counts = np.stack([errors_a, errors_b, lengths], axis=1)  # (utterances, 3)
    sums = resample(counts, blocks, draws, seed)
    total_a, total_b, total = counts.sum(axis=0).tolist()
    differences = 100.0 * (sums[:, 1] - sums[:, 0]) / sums[:, 2]
    low, high = np.percentile(differences, [2.5, 97.5])
    return Comparison(
        rate_a=100.0 * total_a / total,
        rate_b=100.0 * total_b / total,
        difference=100.0 * (total_b - total_a) / total,
        interval=(float(low), float(high)),
        probability_of_improvement=float((differences < 0).mean() + 0.5 * (differences == 0).mean()),
        draws=draws,
    )


def resample(counts: np.ndarray, blocks: Optional[Sequence[str]], draws: int, seed: int) -> np.ndarray:
    """Sums of `counts` (units, columns) over `draws` samples with replacement: (draws, columns).

    The last column is of reference tokens; draws without any are left out.

    Args:
        blocks: as of `paired_bootstrap`.

    Raises:
        InputError: no reference token.
    """
    if blocks is not None:
        _, labels = np.unique(np.asarray(blocks), return_inverse=True)
        counts = np.stack([np.bincount(labels, weights=column) for column in counts.T], axis=1)
    if not counts[:, -1].sum():
        raise InputError(None, "no reference token to score against", "check the references")
    rng = np.random.default_rng(seed)
    even = np.full(len(counts), 1.0 / len(counts))
    sums = []
    for start in range(0, draws, _DRAWS_AT_ONCE):
        times_drawn = rng.multinomial(len(counts), even, size=min(_DRAWS_AT_ONCE, draws - start))
        sums.append(times_drawn @ counts)
    drawn = np.concatenate(sums)
    return drawn[drawn[:, -1] > 0]  # a draw of silent utterances only has no rate
