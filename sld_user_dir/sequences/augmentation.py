"""Augmentation of training units: random de-duplication and unit substitution.

De-duplication, the collapse of runs of one unit, is common before ASR on units (Chang et al.
2023, arXiv 2305.18108). Doing it at random, as an augmentation of durations, is this package's
own variation: no publication of it is known to us.

Substitution of random tokens in language models' data is the unigram noise of Xie et al. 2017
(arXiv 1703.02573), here uniform over the units. Drawing from the nearest centroids instead
imitates what noise does to units, which mostly turn into near ones; that units flip under noise
that changes no word is the finding of Gat et al. 2023 (arXiv 2209.15483).

Every utterance's draws depend on (seed, epoch, row of the manifest) alone: any number of
workers, ranks and resumptions draw the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from sld_user_dir.clustering.kmeans_file import Centroids
from sld_user_dir.errors import InputError, check_probability
from sld_user_dir.manifests.provenance import UnitProvenance

Units = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Augmentation:
    """Maps the raw units of an utterance to those that an epoch trains on.

    The result is never longer, so the sizes that batches are made by stay upper bounds.
    """

    num_units: int
    seed: int
    dedup_prob: float = 0.0
    dedup_runs: bool = False
    """draw for each run, instead of once for the utterance"""
    substitution_prob: float = 0.0
    neighbours: Optional[npt.NDArray[np.int64]] = None
    """(K, n) what may stand in for each unit; None: any other unit"""

    def __post_init__(self) -> None:
        for option, value in (("--dedup-prob", self.dedup_prob), ("--unit-substitution-prob", self.substitution_prob)):
            check_probability(option, value)
        if self.substitution_prob and self.num_units < 2:
            raise ValueError("--unit-substitution-prob needs at least two units")

    def __call__(self, units: Units, epoch: int, row: int) -> Units:
        """Raw units (N,) to (M,), M <= N; the argument stays as it is."""
        rng = np.random.default_rng([self.seed, epoch, row])
        if self.dedup_prob:
            units = self._deduplicate(units, rng)
        if self.substitution_prob:
            units = self._substitute(units, rng)
        return units

    def _deduplicate(self, units: Units, rng: np.random.Generator) -> Units:
        first = np.ones(len(units), dtype=bool)  # of its run
        first[1:] = units[1:] != units[:-1]
        if not self.dedup_runs:
            return units[first] if rng.random() < self.dedup_prob else units
        runs = first.cumsum() - 1  # the run of each unit
        collapsed = rng.random(int(first.sum())) < self.dedup_prob
        return units[first | ~collapsed[runs]]

    def _substitute(self, units: Units, rng: np.random.Generator) -> Units:
        chosen = np.flatnonzero(rng.random(len(units)) < self.substitution_prob)
        old = units[chosen]
        if self.neighbours is None:
            new = (old + rng.integers(1, self.num_units, size=len(chosen))) % self.num_units
        else:
            new = self.neighbours[old, rng.integers(self.neighbours.shape[1], size=len(chosen))]
        result = np.array(units)
        result[chosen] = new
        return result


def build_augmentation(cfg: Any, units: UnitProvenance, manifest: str) -> Optional[Augmentation]:
    """What the task's options ask for; None if nothing.

    Raises:
        ValueError: options that contradict each other or the units; `KMeansError` for a
            k-means file that is not that of the units.
    """
    path = cfg.unit_substitution_kmeans
    if path and not cfg.unit_substitution_prob:
        raise ValueError("--unit-substitution-kmeans does nothing without --unit-substitution-prob")
    if not (cfg.dedup_prob or cfg.unit_substitution_prob):
        return None
    if cfg.dedup_prob and units.deduplicated:
        raise InputError("--dedup-prob", f"the units of {manifest} are de-duplicated already", "leave it out")
    return Augmentation(
        num_units=units.num_units,
        seed=cfg.seed,
        dedup_prob=cfg.dedup_prob,
        dedup_runs=str(cfg.dedup_level) == "run",
        substitution_prob=cfg.unit_substitution_prob,
        neighbours=_neighbours(path, cfg.unit_substitution_neighbours, units, manifest) if path else None,
    )


def _neighbours(path: str, count: int, units: UnitProvenance, manifest: str) -> npt.NDArray[np.int64]:
    """(K, count) the units nearest to each, itself not among them."""
    if count < 1:
        raise ValueError(f"--unit-substitution-neighbours must be at least 1, not {count}")
    centroids = Centroids.load(path)
    centroids.check(units, manifest)
    return centroids.nearest(count + 1)[0][:, 1:]
