"""k-means to and from scikit-learn's pickled form, which textless-lib and HuBERT's simple_kmeans load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.files import atomic_path, refuse_lfs_pointer
from sld_user_dir.interop.records import InteropError

WANTS = "install scikit-learn: pip install scikit-learn"


def to_sklearn(kmeans: KMeans) -> Any:
    """A fitted `sklearn.cluster.KMeans` with our centroids.

    textless-lib's `KMeansQuantizer` calls `predict` and reads `n_clusters`, `_n_threads` and
    `verbose`; scikit-learn itself wants `n_features_in_`, and float32 centroids for float32 frames.

    Raises:
        InteropError: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans as SklearnKMeans
    except ImportError as error:
        raise InteropError(None, "the export is scikit-learn's own object", WANTS) from error
    model = SklearnKMeans(n_clusters=kmeans.num_units, n_init=1)
    model.cluster_centers_ = np.ascontiguousarray(kmeans.centroids, dtype=np.float32)
    model.n_features_in_ = kmeans.dim
    model._n_threads = 1
    model._n_features_out = kmeans.num_units
    model.verbose = False
    return model


def export_sklearn(kmeans: KMeans, path: Path) -> None:
    """Write the joblib file that `KMeansQuantizer(path)` loads, atomically."""
    model = to_sklearn(kmeans)
    import joblib

    with atomic_path(path) as aside:
        joblib.dump(model, aside)


def disagreements(kmeans: KMeans, n_frames: int, seed: int = 0) -> int:
    """Frames that scikit-learn assigns to another unit, out of `n_frames` near the centroids.

    Raises:
        InteropError: scikit-learn is not installed.
    """
    random = np.random.default_rng(seed)
    spread = float(kmeans.centroids.std()) or 1.0
    start = kmeans.centroids[random.integers(0, kmeans.num_units, n_frames)]
    frames = (start + random.normal(0.0, spread, start.shape)).astype(np.float32)
    return int((to_sklearn(kmeans).predict(frames) != kmeans.assign(frames)).sum())


def import_sklearn(path: Path, trust_pickle: bool = False) -> KMeans:
    """Centroids of a joblib or pickle file with `cluster_centers_`.

    Args:
        trust_pickle: loading runs whatever code the file holds: True only for files whose
            origin is known.

    Raises:
        InteropError: not trusted, or no k-means in it.
    """
    refuse_lfs_pointer(path, InteropError)
    if not trust_pickle:
        raise InteropError(
            path, "a pickle, which runs code when it is loaded", "state --trust-pickle if you know its origin"
        )
    try:
        import joblib
    except ImportError as error:
        raise InteropError(path, "written by scikit-learn", WANTS) from error
    try:
        model = joblib.load(path)
        centroids = np.asarray(model.cluster_centers_, dtype=np.float32)
    except FileNotFoundError:
        raise InteropError(path, "no such file", "check the path") from None
    except Exception as error:  # whatever unpickling of an unknown file raises
        problem = f"no k-means of scikit-learn ({type(error).__name__}: {error})"
        raise InteropError(path, problem, "give a joblib or pickle file of one") from error
    return KMeans(centroids, {"imported": Path(path).name})
