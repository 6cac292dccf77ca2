"""Lloyd's iterations (Lloyd 1982) by FAISS, in rounds.

From a k-means++ (Arthur & Vassilvitskii 2007) or AFK-MC^2 (Bachem et al. 2016) start: on every n-th frame first, where
badly placed centroids are then moved (`relocate`), then on all, each until the inertia hardly falls. Clusters that end
empty are restarted on the frames that fit worst.
"""

from __future__ import annotations

import logging
from typing import Optional

import faiss
import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import FloatArray
from sld_user_dir.clustering.kmeans_file import KMeansError
from sld_user_dir.clustering.relocate import MAX_ROUNDS, SETTLING_ITERATIONS, relocate

logger = logging.getLogger(__name__)

STARTS = {
    "kmeans++": "ClusteringInitMethod_KMEANS_PLUS_PLUS",
    "afk-mc2": "ClusteringInitMethod_AFK_MC2",
    "random": "ClusteringInitMethod_RANDOM",
}
ITERATIONS_PER_ROUND = 3  # between two looks at the inertia
TOLERANCE = 5e-3  # 2e-3 lowers held-out inertia by 0.2 to 0.3 %, for 1.3 times the work
MIN_ROUNDS = 3  # on all frames
RELOCATION_ROUNDS = 3  # rounds of moving centroids on all frames
COARSE_FRAMES_PER_UNIT = 24  # enough to place the centroids roughly


def check_start(start: str) -> None:
    """Whether there is such a start.

    Raises:
        KMeansError: there is none.
    """
    if start not in STARTS:
        raise KMeansError(f"--start {start}", "no such start", f"choose one of {', '.join(STARTS)}")


class LloydTrainer:
    """Rounds of faiss's Lloyd iterations, each begun from the last one's centroids."""

    def __init__(self, frames: FloatArray, k: int, seed: int, start: str, n_gpus: int) -> None:
        check_start(start)
        self._frames, self._k, self._seed, self._n_gpus = frames, k, seed, n_gpus
        self._init_method = getattr(faiss, STARTS[start])
        self._centroids: Optional[FloatArray] = None
        self.iterations = self.repaired = 0
        self.inertia = np.inf

    @property
    def centroids(self) -> FloatArray:
        """(K, D), of the last round or as they were set."""
        assert self._centroids is not None, "no round has run"
        return self._centroids

    @centroids.setter
    def centroids(self, centroids: FloatArray) -> None:
        self._centroids = centroids

    def round(self, iterations: int) -> None:
        """Run `iterations` more; `inertia` is the mean squared distance before the last update."""
        kmeans = faiss.Kmeans(
            self._frames.shape[1],
            self._k,
            niter=iterations,
            gpu=self._n_gpus or False,
            seed=self._seed + 1,  # faiss takes seeds from 1
            init_method=self._init_method,
            min_points_per_centroid=1,  # no warning on small samples
            max_points_per_centroid=len(self._frames),  # the sample is drawn by the caller
        )
        kmeans.train(self._frames, init_centroids=self._centroids)
        self._centroids = np.array(kmeans.centroids, dtype=np.float32)
        self.iterations += iterations
        self.inertia = float(np.asarray(kmeans.obj)[-1]) / len(self._frames)
        logger.info("k-means: iteration %d, inertia %.6g a frame", self.iterations, self.inertia)

    def run(self, max_iterations: int, tolerance: float, min_rounds: int = 1) -> None:
        """Rounds until one lowers the inertia by less than the share `tolerance`, `min_rounds` of them at least."""
        while self.iterations < max_iterations:
            before = self.inertia
            self.round(min(ITERATIONS_PER_ROUND, max_iterations - self.iterations))
            if (
                self.iterations >= min_rounds * ITERATIONS_PER_ROUND
                and before - self.inertia < tolerance * self.inertia
            ):
                break

    def relocate(self, max_rounds: int = MAX_ROUNDS) -> None:
        """Move badly placed centroids."""

        def settle(centroids: FloatArray) -> FloatArray:
            self.centroids = centroids
            self.round(SETTLING_ITERATIONS)
            return self.centroids

        self.centroids = relocate(self._frames, self.centroids, settle, self._seed, max_rounds)

    def repair_empty(self, attempts: int = 5) -> None:
        """Restart clusters without frames on the worst-fitting frames, and settle again."""
        for _ in range(attempts):
            nearest, distances = nearest_centroids(self._frames, self.centroids)
            empty = np.flatnonzero(np.bincount(nearest, minlength=self._k) == 0)
            if not len(empty):
                return
            worst = _distinct_rows(self._frames, np.argsort(-distances, kind="stable"), len(empty))
            self.centroids[empty[: len(worst)]] = self._frames[worst]
            self.repaired += len(worst)
            self.round(1)
        distinct = len({row.tobytes() for row in self._frames})
        raise KMeansError(
            None,
            f"{len(empty)} of {self._k} clusters stay empty: {len(self._frames)} frames, {distinct} of them distinct",
            "take fewer units or more varied speech",
        )


def nearest_centroids(frames: FloatArray, centroids: FloatArray) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Index of the centroid (of K, D) nearest to each frame (of T, D), and the squared distance to it, each (T,)."""
    index = faiss.IndexFlatL2(centroids.shape[1])
    index.add(centroids)
    distances, nearest = index.search(frames, 1)
    return nearest[:, 0], distances[:, 0]


def train_centroids(
    frames: FloatArray, num_units: int, seed: int, start: str, max_iterations: int, tolerance: float, n_gpus: int
) -> LloydTrainer:
    """The trainer once it has converged on `frames` (n, D) and no cluster is empty.

    Raises:
        KMeansError: no such start, or fewer distinct frames than units.
    """
    trainer = LloydTrainer(frames, num_units, seed, start, n_gpus)
    if len(frames) >= 2 * COARSE_FRAMES_PER_UNIT * num_units:
        few = _every_nth(frames, COARSE_FRAMES_PER_UNIT * num_units)
        coarse = LloydTrainer(few, num_units, seed, start, n_gpus)
        coarse.run(max_iterations, tolerance)
        coarse.relocate()
        trainer.centroids = coarse.centroids
        del coarse, few  # a copy of frames
        trainer.run(max_iterations, tolerance, MIN_ROUNDS)
        if len(frames) < 4 * COARSE_FRAMES_PER_UNIT * num_units:  # then the coarse ones were a poor guide
            trainer.relocate(RELOCATION_ROUNDS)
    else:
        trainer.run(max_iterations, tolerance, MIN_ROUNDS)
        trainer.relocate()
    trainer.repair_empty()
    return trainer


def _every_nth(frames: FloatArray, wanted: int) -> FloatArray:
    """A copy of every n-th frame, `wanted` of them to 1.5 times as many."""
    return np.ascontiguousarray(frames[:: len(frames) // wanted])


def _distinct_rows(frames: FloatArray, order: npt.NDArray[np.int64], wanted: int) -> list[int]:
    """The first `wanted` rows of `frames` in this order that differ from one another."""
    seen: dict[bytes, int] = {}
    for row in order:
        seen.setdefault(frames[row].tobytes(), int(row))
        if len(seen) == wanted:
            break
    return list(seen.values())
