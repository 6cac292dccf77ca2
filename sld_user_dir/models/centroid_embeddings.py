"""Embeddings of units that start from the centroids of their k-means: near units start near each other.

The first C principal components of the centroids, centred and scaled so that all values together have the variance of
a random embedding, 1/C. Where the centroids have fewer dimensions, the rest stays random.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sld_user_dir.clustering.kmeans_file import Centroids


def centroid_embeddings(centroids: Centroids, random: Tensor) -> Tensor:
    """Embeddings (K, C) of the K units.

    Args:
        random: (K, C) what they would be without; left as it is.
    """
    values = torch.from_numpy(centroids.values).double()
    values = values - values.mean(0)
    _, _, directions = torch.linalg.svd(values, full_matrices=False)
    # the sign of a principal direction is arbitrary: fix it, so that all machines start alike
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    components = values @ (directions * largest.sign()).T[:, : random.size(1)]  # (K, min(C, D, K))
    scale = components.square().mean().sqrt().clamp(min=1e-12) * random.size(1) ** 0.5
    embeddings = random.clone()
    embeddings[:, : components.size(1)] = (components / scale).to(random)
    return embeddings
