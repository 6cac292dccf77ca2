"""How good probabilities of being right are.

Of n words with confidences c and outcomes y (1: right), whose share of right ones is p:

    NCE    (H - sum of -[y log c + (1 - y) log(1 - c)]) / H,   H = -n (p log p + (1 - p) log(1 - p))
    ECE    sum over bins of (their share of words) |mean confidence - share of right ones|
    AUROC  probability that a right word has a higher confidence than a wrong one; ties count half

NCE, normalised cross-entropy (Siu et al. 1997, NIST's measure), is 1 where all is known and 0 where no more is known
than p. ECE, expected calibration error (Naeini et al. 2015), here in 10 bins of equal width.
"""

from __future__ import annotations

from typing import Any, Optional, Sequence

import numpy as np
import numpy.typing as npt

from sld_user_dir.errors import InputError

BINS = 10
LEAST = 1e-7
"""Confidences are kept so far from 0 and 1 in logarithms."""
Confidences = npt.NDArray[np.float64]
Outcomes = npt.NDArray[np.bool_]


def calibration_report(confidences: Sequence[float], right: Sequence[bool]) -> dict[str, Any]:
    """The three measures, and the bins of a reliability diagram; measures that cannot be had are None.

    Raises:
        InputError: nothing to measure on.
    """
    c, y = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=bool)
    if not len(c):
        raise InputError(None, "no word with a confidence", "decode something, and give its confidence map")
    return {
        "count": len(c),
        "right": int(y.sum()),
        "mean_confidence": float(c.mean()),
        "nce": normalised_cross_entropy(c, y),
        "ece": expected_calibration_error(c, y),
        "auroc": area_under_roc(c, y),
        "bins": reliability_bins(c, y),
    }


def normalised_cross_entropy(c: Confidences, y: Outcomes) -> Optional[float]:
    """None where all are right or all wrong."""
    share = y.mean()
    if share in (0, 1):
        return None
    inside = np.clip(c, LEAST, 1 - LEAST)
    entropy = -len(y) * (share * np.log(share) + (1 - share) * np.log1p(-share))
    cross_entropy = -np.where(y, np.log(inside), np.log1p(-inside)).sum()
    return float((entropy - cross_entropy) / entropy)


def expected_calibration_error(c: Confidences, y: Outcomes) -> float:
    """Over the bins that are not empty."""
    gaps = [one["count"] * abs(one["confidence"] - one["right"]) for one in reliability_bins(c, y) if one["count"]]
    return float(sum(gaps) / len(c))


def area_under_roc(c: Confidences, y: Outcomes) -> Optional[float]:
    """None where all are right or all wrong."""
    n_right, n_wrong = int(y.sum()), int((~y).sum())
    if not n_right or not n_wrong:
        return None
    _, place, times = np.unique(c, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[place]  # of equal ones, their mean
    return float((ranks[y].sum() - n_right * (n_right + 1) / 2) / (n_right * n_wrong))


def reliability_bins(c: Confidences, y: Outcomes) -> list[dict[str, Any]]:
    """Of each bin its edges, the number of words, their mean confidence and share of right ones (None of none)."""
    which = np.minimum((c * BINS).astype(int), BINS - 1)
    bins = []
    for number in range(BINS):
        inside = which == number
        count = int(inside.sum())
        means = (float(c[inside].mean()), float(y[inside].mean())) if count else (None, None)
        edges = {"from": number / BINS, "to": (number + 1) / BINS}
        bins.append({**edges, "count": count, "confidence": means[0], "right": means[1]})
    return bins
