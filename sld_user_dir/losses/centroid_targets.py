"""KL targets from the distances between centroids (`--kl-variant centroid`).

    q_k(y) ∝ exp(-||c_y - c_k||^2 / (2 tau^2)),   k among the n units nearest to y (y is the first)
    tau = width * d,   d^2 = mean over the units of the squared distance to the nearest other one

This is the posterior of the components of a mixture of equal Gaussians N(c_k, tau^2 I) at the
point c_y, cut off after n. The mass that smoothing takes from the right unit goes to units that
sound alike, instead of all of them. It is a choice of this package, not of the paper whose KL it
is used in; smoothing towards similar classes is that of Liu and JaJa 2020 (arXiv 2006.14028).
"""

import logging
from typing import Any, Dict, Set, Tuple

import numpy as np
import torch

from sld_user_dir.clustering.kmeans_file import Centroids, CentroidsError
from sld_user_dir.losses.positions import SoftTargets
from sld_user_dir.manifests.unit_manifest import UnitProvenance

logger = logging.getLogger(__name__)


class CentroidTargets:
    """The targets of a criterion: made once, checked against its manifests, kept where its batches are.

    No buffers of the criterion: `--fp16` would halve them, and checkpoints would carry them.

    Args:
        cfg: an `SldCriterionConfig`.
        num_units: K of the vocabulary.

    Raises:
        ValueError: no k-means file, not one of K centroids, or settings that make no target.
    """

    def __init__(self, cfg: Any, num_units: int) -> None:
        if not cfg.kl_centroids:
            raise ValueError("--kl-variant centroid needs --kl-centroids, the k-means .npz that made the units")
        self.centroids = Centroids.load(cfg.kl_centroids)
        if self.centroids.num_units != num_units:
            raise CentroidsError(
                f"{cfg.kl_centroids} has {self.centroids.num_units} centroids, but the vocabulary {num_units} units; "
                "give the k-means file that made the units"
            )
        self.targets = soft_targets(self.centroids, cfg.kl_neighbours, cfg.kl_centroid_width)
        self._checked: Set[str] = set()

    def on(self, device: torch.device, provenance: Dict[str, UnitProvenance]) -> SoftTargets:
        """The targets on `device`, for units of these manifests, which a criterion precedes."""
        for path in provenance.keys() - self._checked:
            self.centroids.check(provenance[path], path)
            self._checked.add(path)
        if self.targets.units.device != device:
            self.targets = self.targets.to(device)
        return self.targets


def soft_targets(centroids: Centroids, neighbours: int, width: float) -> SoftTargets:
    """The targets of all K units on their `neighbours` nearest units, themselves included.

    Raises:
        ValueError: a number of neighbours or a width that makes no target.
    """
    if neighbours < 1:
        raise ValueError(f"--kl-neighbours must be at least 1 (the unit itself), not {neighbours}")
    if not width > 0:
        raise ValueError(f"--kl-centroid-width must be above 0, not {width}")
    nearest, squared = centroids.nearest(max(neighbours, 2))
    spacing = float(squared[:, 1].mean()) if squared.shape[1] > 1 else 1.0
    if not spacing:
        raise ValueError(f"{centroids.path}: each centroid equals another one; train the k-means on fewer units")
    nearest, squared = nearest[:, :neighbours], squared[:, :neighbours]
    weights = np.exp(-squared / (2 * width**2 * spacing))
    weights /= weights.sum(1, keepdims=True)
    own, entropy = _describe(weights)
    logger.info(
        "KL targets from %s: %d nearest units, tau %.4g; on average %.3f on the unit itself, entropy %.3f bits",
        centroids.path, nearest.shape[1], width * spacing**0.5, own, entropy,
    )  # fmt: skip
    return SoftTargets(torch.from_numpy(nearest.copy()), torch.from_numpy(weights))


def _describe(weights: np.ndarray) -> Tuple[float, float]:
    """Mean mass on the unit itself, and mean entropy in bits."""
    logs = np.log2(weights, where=weights > 0, out=np.zeros_like(weights))
    return float(weights[:, 0].mean()), float(-(weights * logs).sum(1).mean())
