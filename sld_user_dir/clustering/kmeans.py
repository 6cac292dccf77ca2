"""k-means by FAISS: train, assign, save.

Lloyd's algorithm (Lloyd 1982) from a k-means++ (Arthur & Vassilvitskii 2007) or AFK-MC^2
(Bachem et al. 2016) start: on every n-th frame first, where badly placed centroids are then moved
(`relocate`), then on all, each until the inertia hardly falls. Clusters that end empty are
restarted on the frames that fit worst.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Optional

import faiss
import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import FloatArray, PathLike
from sld_user_dir.clustering.assign import CpuAssigner
from sld_user_dir.clustering.faiss_device import resolve_gpus
from sld_user_dir.clustering.kmeans_file import Centroids, KMeansError, centroids_sha256, checked_centroids
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


@dataclass(frozen=True)
class KMeans:
    """K centroids, and what is known about their making."""

    centroids: FloatArray
    """(K, D)"""
    metadata: dict[str, Any] = field(default_factory=dict)
    """plain JSON values; `features` holds the FeatureConfig of the frames, where it is known"""

    path: Optional[str] = None
    """where they were read"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "centroids", checked_centroids(np.asarray(self.centroids), self.path))

    @property
    def num_units(self) -> int:
        """K."""
        return int(self.centroids.shape[0])

    @property
    def dim(self) -> int:
        """D, the values of a frame."""
        return int(self.centroids.shape[1])

    @property
    def sha256(self) -> str:
        """`sha256:...` of shape and little-endian float32 values; metadata does not count."""
        return centroids_sha256(self.centroids)

    def search(self, frames: FloatArray) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """Nearest centroid and squared distance to it, each (T,), of frames (T, D)."""
        frames = self._check(frames)
        index = faiss.IndexFlatL2(self.dim)
        index.add(self.centroids)
        distances, nearest = index.search(frames, 1)
        return nearest[:, 0].astype(np.int32), distances[:, 0]

    def assign(self, frames: FloatArray) -> npt.NDArray[np.int32]:
        """Unit of each frame: (T, D) -> int32 (T,). For many utterances: `unit_sequences.assign_joined`."""
        return self._assigner([self._check(frames)])[0]

    @cached_property
    def _assigner(self) -> CpuAssigner:
        return CpuAssigner(self.centroids)

    def _check(self, frames: FloatArray) -> FloatArray:
        if frames.ndim != 2 or frames.shape[1] != self.dim:
            problem = f"frames of shape {frames.shape} do not fit centroids of {self.dim} dimensions"
            raise KMeansError(self.path, problem, "make them by the features that the centroids were trained on")
        return np.ascontiguousarray(frames, dtype=np.float32)

    def save(self, path: PathLike) -> None:
        """Write a k-means file; see `Centroids.save`."""
        Centroids.save(path, self.centroids, self.metadata)

    @classmethod
    def load(cls, path: PathLike) -> KMeans:
        """Read a k-means file.

        Raises:
            KMeansError: missing, not such a file, or holding pickled objects.
        """
        found = Centroids.load(path)
        return cls(found.values, found.metadata, found.path)

    @classmethod
    def fit(
        cls,
        frames: FloatArray,
        num_units: int,
        *,
        seed: int = 0,
        start: str = "kmeans++",
        max_iterations: int = 100,
        tolerance: float = TOLERANCE,
        device: str = "auto",
        metadata: Optional[dict[str, Any]] = None,
    ) -> KMeans:
        """Cluster all of `frames` (n, D); draw the sample before (`clustering.sample`).

        Args:
            tolerance: stop when three iterations, a round, lower the inertia by less than this share.
            device: see `faiss_device.resolve_gpus`.
            metadata: kept in the file, besides the settings and the outcome of the training.

        Raises:
            KMeansError: NaN, fewer distinct frames than units, or no such start.
            DeviceError: the GPU that was asked for cannot be used.
        """
        frames = np.ascontiguousarray(frames, dtype=np.float32)
        _check_frames(frames, num_units)
        n_gpus = resolve_gpus(device)
        trainer = _Trainer(frames, num_units, seed, start, n_gpus)
        if len(frames) >= 2 * COARSE_FRAMES_PER_UNIT * num_units:
            coarse = _Trainer(_every_nth(frames, COARSE_FRAMES_PER_UNIT * num_units), num_units, seed, start, n_gpus)
            coarse.run(max_iterations, tolerance)
            coarse.relocate()
            trainer.centroids = coarse.centroids
            del coarse  # and its copy of frames
            trainer.run(max_iterations, tolerance, MIN_ROUNDS)
            if len(frames) < 4 * COARSE_FRAMES_PER_UNIT * num_units:  # then the coarse ones were a poor guide
                trainer.relocate(RELOCATION_ROUNDS)
        else:
            trainer.run(max_iterations, tolerance, MIN_ROUNDS)
            trainer.relocate()
        trainer.repair_empty()
        training = {
            "n_frames": len(frames),
            "seed": seed,
            "start": start,
            "iterations": trainer.iterations,
            "max_iterations": max_iterations,
            "tolerance": tolerance,
            "repaired_clusters": trainer.repaired,
            "inertia": trainer.inertia,
            "faiss": faiss.__version__,
        }
        return cls(trainer.centroids, {**(metadata or {}), "training": training})


def check_start(start: str) -> None:
    """Whether there is such a start.

    Raises:
        KMeansError: there is none.
    """
    if start not in STARTS:
        raise KMeansError(f"--start {start}", "no such start", f"choose one of {', '.join(STARTS)}")


class _Trainer:
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
            nearest, distances = KMeans(self.centroids).search(self._frames)
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


def _check_frames(frames: FloatArray, num_units: int) -> None:
    if frames.ndim != 2:
        raise KMeansError(None, f"frames are a (n, D) array, not of shape {frames.shape}", "put a frame in each row")
    if num_units < 1:
        raise KMeansError(f"--num-units {num_units}", "no units", "take at least 1")
    if len(frames) < num_units:
        raise KMeansError(
            None, f"{len(frames)} frames cannot make {num_units} units", "take fewer units or more speech"
        )
    if not all(np.isfinite(block).all() for block in np.array_split(frames, len(frames) // 4096 + 1)):
        raise KMeansError(None, "frames hold NaN or infinite values", "look for the recordings that they come from")
