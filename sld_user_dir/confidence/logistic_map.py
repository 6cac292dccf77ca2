"""A small logistic regression: from evidence to the probability of being right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sld_user_dir.confidence.evidence import Evidence

PENALTY = 1.0
"""Half of it times the squared weights of standardised evidence is added to the loss, since errors are few."""
STEPS = 50
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LogisticMap:
    """p(right) = 1 / (1 + exp(-(bias + weights · (evidence - mean) / scale)))."""

    bias: float
    weights: list[float]
    mean: list[float]
    scale: list[float]

    def __call__(self, evidence: Evidence) -> Floats:
        """Probabilities (n,) of evidence (n, F)."""
        standardised = (evidence - np.array(self.mean)) / np.array(self.scale)
        return _sigmoid(self.bias + standardised @ np.array(self.weights))

    @classmethod
    def from_json(cls, stated: Any, n_evidence: int) -> LogisticMap:
        """What a file states.

        Raises:
            TypeError, ValueError, KeyError: it is none of so many kinds of evidence.
        """
        names = ("weights", "mean", "scale")
        columns = {name: [float(value) for value in stated[name]] for name in names}
        if any(len(values) != n_evidence for values in columns.values()) or not all(columns["scale"]):
            raise ValueError(f"not {n_evidence} weights, means and scales")
        return cls(float(stated["bias"]), **columns)


def fit_logistic(evidence: Evidence, right: npt.NDArray[np.bool_]) -> tuple[LogisticMap, float]:
    """The map of least penalised cross-entropy, and its cross-entropy in nats, by Newton's method.

    Args:
        evidence: (n, F).
        right: (n,), of both kinds.
    """
    mean, scale = evidence.mean(axis=0), evidence.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    inputs = np.concatenate([np.ones((len(evidence), 1)), (evidence - mean) / scale], axis=1)
    penalty = np.diag([1e-6] + [PENALTY] * evidence.shape[1])
    weights = np.zeros(inputs.shape[1])
    for _ in range(STEPS):
        p = _sigmoid(inputs @ weights)
        slope = inputs.T @ (p - right) + penalty @ weights
        curvature = inputs.T @ (inputs * (p * (1 - p))[:, None]) + penalty
        step = np.linalg.solve(curvature, slope)
        weights = weights - step / max(1.0, float(np.abs(step).max()))  # from afar, Newton's steps overshoot
    p = np.clip(_sigmoid(inputs @ weights), 1e-12, 1 - 1e-12)
    cross_entropy = -float(np.where(right, np.log(p), np.log1p(-p)).sum())
    bias, *others = weights.tolist()
    return LogisticMap(bias, others, mean.tolist(), scale.tolist()), cross_entropy


def _sigmoid(x: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -x))
