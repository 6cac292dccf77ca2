"""The k-means file and the centroids in it, read and written by numpy alone: training imports no clustering library.

The file is a plain `.npz`: `centroids` float32 (K, D) and `metadata`, a JSON text. Nothing in it is pickled, and
nothing pickled is ever loaded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import ARRAY_FILE_ERRORS, PathLike
from sld_user_dir.errors import InputError
from sld_user_dir.files import atomic_path, parse_json, refuse_lfs_pointer
from sld_user_dir.manifests.provenance import OWN_CODES, UnitProvenance

FORMAT = "speech-unit-kmeans/1"
DISTANCES_AT_A_TIME = 2**22


class KMeansError(InputError):
    """Frames that cannot be clustered, no k-means file of ours, or not that of the units."""


def checked_centroids(values: npt.NDArray[Any], where: Optional[PathLike] = None) -> npt.NDArray[np.float32]:
    """Centroids (K, D) as contiguous float32.

    Raises:
        KMeansError: another shape, none at all, or NaN or infinite values.
    """
    remedy = "train one with sld kmeans, or import it (docs/units.md)"
    values = np.ascontiguousarray(values, dtype=np.float32)
    if values.ndim != 2 or not values.size:
        raise KMeansError(where, f"centroids are a (K, D) array, not of shape {values.shape}", remedy)
    if not np.isfinite(values).all():
        raise KMeansError(where, "centroids hold NaN or infinite values", remedy)
    return values


def centroids_sha256(values: npt.NDArray[np.float32]) -> str:
    """`sha256:...` of shape (K, D) and little-endian float32 values: what a provenance calls `kmeans`."""
    digest = hashlib.sha256(f"{values.shape[0]}x{values.shape[1]}:".encode())
    digest.update(values.astype("<f4").tobytes())
    return f"sha256:{digest.hexdigest()}"


@dataclass(frozen=True)
class Centroids:
    """Cluster centres of the K units, float32 (K, D), and where they were read."""

    values: npt.NDArray[np.float32]
    path: str
    metadata: dict[str, Any] = field(default_factory=dict)
    """plain JSON values; `features` holds the `FeatureConfig` of the frames, where it is known"""

    @classmethod
    def load(cls, path: PathLike) -> Centroids:
        """Read a k-means file.

        Raises:
            KMeansError: missing, not such a file, or holding pickled objects.
        """
        remedy = "train one with sld kmeans, or import it (docs/units.md)"
        try:
            with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as arrays:
                values, metadata = arrays["centroids"].astype(np.float32), parse_json(str(arrays["metadata"]))
            known = metadata.pop("format", None) == FORMAT
        except FileNotFoundError:
            raise KMeansError(path, "no such file", remedy) from None
        except ARRAY_FILE_ERRORS as error:
            refuse_lfs_pointer(path, KMeansError)
            raise KMeansError(path, f"not a k-means file ({error})", remedy) from error
        if not known:
            raise KMeansError(path, f"metadata is not of format {FORMAT!r}", remedy)
        return cls(checked_centroids(values, path), str(path), metadata)

    @staticmethod
    def save(path: PathLike, values: npt.NDArray[np.float32], metadata: dict[str, Any]) -> None:
        """Write a k-means file, whole or not at all; the same centroids and metadata give the same bytes."""
        text = json.dumps({"format": FORMAT, **metadata}, sort_keys=True, ensure_ascii=False)
        with atomic_path(path) as aside, open(aside, "wb") as handle:
            np.savez(handle, centroids=values.astype("<f4"), metadata=np.array(text))

    @property
    def num_units(self) -> int:
        """K."""
        return int(self.values.shape[0])

    @cached_property
    def sha256(self) -> str:
        """As in a manifest's provenance."""
        return centroids_sha256(self.values)

    def check(self, units: UnitProvenance, manifest: str) -> None:
        """Refuse units that these centroids did not make.

        Raises:
            KMeansError: subword units, another K, or another k-means (where it is known).
        """
        remedy = "give the k-means file that made them, or extract the units again with this one"
        if units.subword is not None:
            raise KMeansError(
                manifest,
                f"its units are subwords ({units.subword[:19]}), which have no centroids",
                "leave the option out that needs them",
            )
        if units.kmeans == OWN_CODES:
            problem = f"its units are the own codes of {units.encoder}, which have no centroids"
            raise KMeansError(manifest, problem, "leave the option out that needs them")
        if units.num_units != self.num_units:
            raise KMeansError(
                None, f"{self.path} has {self.num_units} centroids, but {manifest} has {units.num_units} units", remedy
            )
        if units.kmeans.startswith("sha256:") and units.kmeans != self.sha256:
            raise KMeansError(
                None,
                f"{self.path} is k-means {self.sha256[:19]}, but the units of {manifest} are of {units.kmeans[:19]}",
                remedy,
            )

    def nearest(self, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The `count` units nearest to each: ids and squared distances, each (K, count).

        A unit is its own nearest; ties go to the lower id. `count` above K means K.
        """
        centroids = self.values.astype(np.float64)
        k, count = len(centroids), min(count, len(centroids))
        norms = np.square(centroids).sum(1)
        nearest, squared = np.empty((k, count), dtype=np.int64), np.empty((k, count))
        step = max(1, DISTANCES_AT_A_TIME // k)
        for start in range(0, k, step):
            rows = np.arange(start, min(start + step, k))
            distances = norms[rows, None] + norms - 2 * centroids[rows] @ centroids.T
            np.maximum(distances, 0, out=distances)
            distances[np.arange(len(rows)), rows] = -1  # first, even before an equal centroid
            order = np.argsort(distances, axis=1, kind="stable")[:, :count]
            nearest[rows] = order
            squared[rows] = np.maximum(np.take_along_axis(distances, order, axis=1), 0)
        return nearest, squared
