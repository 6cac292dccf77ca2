"""How sure a difference of objectives is, when both utterances and trainings are samples.

A word error rate of an objective is a mean over its trainings. Another draw of seeds and another draw of speakers would
both have given another mean; the two sources of chance are independent, so their variances add:

    Var(mean)       = s^2 / n  +  Var_u
    Var(difference) = s_A^2 / n_A  +  s_B^2 / n_B  +  Var_u

s^2 is the sample variance (n - 1 below) over trainings, each scored on the same test set; Var_u is that of the
difference of the objectives' mean errors over draws of speakers with replacement (`scoring.significance`; utterances of
a speaker are not independent). Intervals and tests take Student's t with the degrees of freedom of Welch (1947) and
Satterthwaite (1946), and p values of several comparisons are corrected by Holm (1979).

Why not a bootstrap over trainings as well: with n = 3 or 5 its variance is too small by (n - 1) / n, and its tails
cannot be seen at all; few trainings are what a sweep has. A mixed model would estimate the same two variances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np

from sld_user_dir.scoring.significance import resample

DRAWS = 4000
MIN_BLOCKS = 8
"""Where a test set has fewer speakers, utterances are drawn instead: three speakers tell nothing about a fourth."""


@dataclass(frozen=True)
class ErrorTable:
    """Errors of the trainings of one objective on one test set.

    Attributes:
        errors: (trainings, utterances) edits.
        lengths: (utterances,) reference tokens.
        blocks: (utterances,) labels that are drawn together.
    """

    errors: np.ndarray
    lengths: np.ndarray
    blocks: Sequence[str]

    @property
    def rates(self) -> np.ndarray:
        """(trainings,) error rates in percent."""
        return 100.0 * self.errors.sum(axis=1) / self.lengths.sum()


@dataclass(frozen=True)
class Estimate:
    """A rate, or a difference of rates, in percent.

    Attributes:
        training_error: standard error from trainings; None with a single training.
        utterance_error: standard error from utterances.
        interval: 95 %, of both together; None with a single training.
        p_value: of the hypothesis that it is 0; None where it cannot be tested.
    """

    value: float
    training_error: Optional[float]
    utterance_error: float
    interval: Optional[tuple[float, float]]
    p_value: Optional[float]


def mean_rate(table: ErrorTable, seed: int = 0) -> Estimate:
    """The mean rate of an objective."""
    return _estimate(float(table.rates.mean()), [table.rates], _drawn_rates([table], seed)[0])


def difference(table: ErrorTable, baseline: ErrorTable, seed: int = 0) -> Estimate:
    """The mean rate of an objective less that of the baseline, on the same utterances."""
    drawn = _drawn_rates([table, baseline], seed)
    value = float(table.rates.mean() - baseline.rates.mean())
    return _estimate(value, [table.rates, baseline.rates], drawn[0] - drawn[1])


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    corrected, highest = np.empty(len(p_values)), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected.tolist()


def _estimate(value: float, samples: Sequence[np.ndarray], drawn: np.ndarray) -> Estimate:
    from scipy import stats

    of_utterances = float(drawn.var(ddof=1))
    if any(len(sample) < 2 for sample in samples):
        return Estimate(value, None, of_utterances**0.5, None, None)
    parts = [(float(sample.var(ddof=1)) / len(sample), len(sample) - 1) for sample in samples]
    of_trainings = sum(variance for variance, _ in parts)
    total = of_trainings + of_utterances
    if total == 0:
        return Estimate(value, 0.0, 0.0, (value, value), float(value == 0))
    # what the bootstrap estimates has as good as infinitely many degrees of freedom beside the trainings' two or four
    freedom = total**2 / max(sum(variance**2 / n for variance, n in parts), 1e-30)
    half = float(stats.t.ppf(0.975, freedom)) * total**0.5
    p_value = 2.0 * float(stats.t.sf(abs(value) / total**0.5, freedom))
    return Estimate(value, of_trainings**0.5, of_utterances**0.5, (value - half, value + half), p_value)


def _drawn_rates(tables: Sequence[ErrorTable], seed: int) -> np.ndarray:
    """(tables, draws) mean rates over the same draws of blocks."""
    first = tables[0]
    blocks = first.blocks if len(set(first.blocks)) >= MIN_BLOCKS else None
    counts = np.stack([*(table.errors.mean(axis=0) for table in tables), first.lengths], axis=1)
    sums = resample(counts, blocks, DRAWS, seed)
    return 100.0 * sums[:, :-1].T / sums[:, -1]
