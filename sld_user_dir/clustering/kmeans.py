"""k-means: train by FAISS (`lloyd`), assign, save and load (`kmeans_file`)."""

from __future__ import annotations

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
from sld_user_dir.clustering.lloyd import TOLERANCE, nearest_centroids, train_centroids


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
        nearest, distances = nearest_centroids(frames, self.centroids)
        return nearest.astype(np.int32), distances

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
        trainer = train_centroids(frames, num_units, seed, start, max_iterations, tolerance, n_gpus)
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
