"""A KL whose target falls off with the distance between centroids (`--kl-variant centroid`).

    q_k(y) ∝ exp(-||c_y - c_k||^2 / (2 tau^2)),   k among the m units nearest to y (y is the first), else 0
    tau = width * d,   d^2 = mean over the units of the squared distance to the nearest other one

This is the posterior of the components of a mixture of equal Gaussians N(c_k, tau^2 I) at the point c_y, cut off after
m. The mass that smoothing takes from the right unit goes to units that sound alike, instead of all of them. It is a
choice of this package, not of the paper whose KL it is used in (`smoothed_kl`); smoothing towards similar classes is
that of Liu and JaJa 2020 (arXiv 2006.14028). With the symbols of `smoothed_kl`,

    KL = sum_{k in N(y)} q_k log q_k + logsumexp(z^s / T) - 1/T sum_{k in N(y)} q_k z^s_k

so a gather of m logits takes the place of the sum over all, and the target is two tables (K, m).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Optional, Set, Tuple

import numpy as np
import torch
from torch import Tensor

from sld_user_dir.clustering.kmeans_file import Centroids
from sld_user_dir.errors import InputError
from sld_user_dir.losses.divisors import check_kl, kl_divisor, kl_weight
from sld_user_dir.losses.positions import Positions
from sld_user_dir.losses.statistics import Statistics
from sld_user_dir.losses.term import LOSS_ON_SPEECH, Context, PositionTerm, register_term

logger = logging.getLogger(__name__)


class SoftTargets(NamedTuple):
    """On unit y the mass weights[y, i] lies on unit units[y, i]; both (K, m).

    A line of `units` holds no unit twice; a line of `weights` sums to 1.
    """

    units: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> SoftTargets:
        return SoftTargets(self.units.to(device), self.weights.to(device))


@dataclass
class CentroidOptions:
    """Options beside those of `smoothed_kl`."""

    kl_centroids: Optional[str] = field(
        default=None, metadata={"help": "k-means .npz that made the units, for --kl-variant centroid"}
    )
    kl_neighbours: int = field(
        default=10, metadata={"help": "nearest units, itself included, that a target of --kl-variant centroid lies on"}
    )
    kl_centroid_width: float = field(
        default=0.5,
        metadata={
            "help": "tau of --kl-variant centroid, q_k ~ exp(-distance^2 / (2 tau^2)), as a multiple of the "
            "root mean square distance from a centroid to its nearest one; small: one-hot"
        },
    )


class CentroidTable:
    """The targets of a training: made once, checked against its manifests, kept where its batches are.

    No buffers of the criterion: `--fp16` would halve them, and checkpoints would carry them.
    """

    def __init__(self, targets: SoftTargets, centroids: Optional[Centroids] = None, provenance: Any = None) -> None:
        self.targets, self._centroids = targets, centroids
        self._provenance = {} if provenance is None else provenance  # grows as manifests are loaded
        self._checked: Set[str] = set()

    def on(self, device: torch.device) -> SoftTargets:
        """The targets on a device; refuses manifests of units that other centroids made."""
        if self._centroids is not None:
            for path in self._provenance.keys() - self._checked:
                self._centroids.check(self._provenance[path], path)
                self._checked.add(path)
        if self.targets.units.device != device:
            self.targets = self.targets.to(device)
        return self.targets


@register_term
@dataclass(frozen=True)
class CentroidKL(PositionTerm):
    """T^2 KL(q(y) || softmax(z^s / T)), over the targets that are speech units of a prompt."""

    name = "kl"
    variant = "centroid"
    variant_help = (
        "as 'paper' but for its target, which falls off with the distance between the units' centroids (docs/losses.md)"
    )
    Options = CentroidOptions
    features = frozenset({LOSS_ON_SPEECH})

    table: CentroidTable
    weight: float = 0.008
    temperature: float = 1.0
    denominator: str = "sentence"

    def __post_init__(self) -> None:
        check_kl(self.denominator, self.temperature)

    @classmethod
    def from_options(cls, options: Any, context: Context) -> Optional[CentroidKL]:
        alpha, num_units = kl_weight(options), context.vocab.num_units
        if not alpha:
            return None
        if not options.kl_centroids:
            raise InputError(
                "--kl-variant centroid",
                "its targets need centroids",
                "give --kl-centroids, the .npz that made the units",
            )
        centroids = Centroids.load(options.kl_centroids)
        if centroids.num_units != num_units:
            raise InputError(
                options.kl_centroids,
                f"{centroids.num_units} centroids, but the vocabulary has {num_units} units",
                "give the k-means file that made the units",
            )
        targets = soft_targets(centroids, options.kl_neighbours, options.kl_centroid_width)
        table = CentroidTable(targets, centroids, context.provenance)
        return cls(table, alpha, options.kl_temperature, str(options.kl_denominator))

    def positions(self, at: Positions) -> Tensor:
        return at.is_unit & at.has_speech_prompt & ~at.is_answer

    def with_sparse_target(self, at: Positions) -> Positions:
        targets = self.table.on(at.target.device)
        raw = at.unit_target - at.layout.unit_offset
        return replace(at, sparse_ids=targets.units[raw] + at.layout.unit_offset, sparse_masses=targets.weights[raw])

    def value(self, stats: Statistics, at: Positions) -> Tensor:
        assert at.sparse_masses is not None
        masses = at.sparse_masses.to(stats.tempered.dtype)
        negentropy = torch.xlogy(masses, masses).sum(1)
        return self.temperature**2 * (negentropy + stats.tempered - stats.sparse / self.temperature)

    def divisor(self, at: Positions) -> Tensor:
        return kl_divisor(self.denominator, self.positions(at), at)


def soft_targets(centroids: Centroids, neighbours: int, width: float) -> SoftTargets:
    """The targets of all K units on their `neighbours` nearest units, themselves included.

    Raises:
        InputError: a number of neighbours or a width that makes no target.
    """
    if neighbours < 1:
        raise InputError(f"--kl-neighbours {neighbours}", "a target lies on one unit at least", "1 is the unit itself")
    if not width > 0:
        raise InputError(f"--kl-centroid-width {width}", "no width", "choose one above 0")
    nearest, squared = centroids.nearest(max(neighbours, 2))
    spacing = float(squared[:, 1].mean()) if squared.shape[1] > 1 else 1.0
    if not spacing:
        raise InputError(centroids.path, "each centroid equals another one", "train the k-means on fewer units")
    nearest, squared = nearest[:, :neighbours], squared[:, :neighbours]
    weights = np.exp(-squared / (2 * width**2 * spacing))
    weights /= weights.sum(1, keepdims=True)
    own, entropy = _sharpness(weights)
    logger.info(
        "KL targets from %s: %d nearest units, tau %.4g; on average %.3f on the unit itself, entropy %.3f bits",
        centroids.path,
        nearest.shape[1],
        width * spacing**0.5,
        own,
        entropy,
    )
    return SoftTargets(torch.from_numpy(nearest.copy()), torch.from_numpy(weights))


def _sharpness(weights: np.ndarray) -> Tuple[float, float]:
    """Mean mass on the unit itself, and mean entropy in bits."""
    logs = np.log2(weights, where=weights > 0, out=np.zeros_like(weights))
    return float(weights[:, 0].mean()), float(-(weights * logs).sum(1).mean())
