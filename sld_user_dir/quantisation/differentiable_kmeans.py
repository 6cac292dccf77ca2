"""k-means whose centroids the recognition loss trains.

Source: Onda et al. 2025, "Differentiable K-means for Fully-optimized Discrete Token-based ASR", arXiv 2505.16207. Its
form is known here from its abstract, from a public summary of it and from the documentation of ESPnet's
`DifferentiableKMeans`; the paper itself could not be read. With frames x (D,), centroids c_k and units k < K,

    p_k = softmax over k of  -s |x - c_k|^2                    probabilities
    y_k = softmax over k of  (log p_k + g_k) / T,  g_k ~ Gumbel    a sample, sharper the lower T is

The hard form uses the one-hot vector of the largest y_k, with the gradient of y (Jang et al. 2017, arXiv 1611.01144);
the soft form uses y itself. T falls over training (`temperature_schedule`). Outside training both use the nearest
centroid, as k-means does: there is no noise, and the limit of large s and small T is the same.

Choices made here: s is counted in units of 1 / d^2, d^2 being the mean squared distance from a centroid of the start
to its nearest other one, so that one value suits all features. And the trained numbers are not the centroids but their
shift from the start, in units of the root mean square value of the start's centred centroids: a learning rate then
means the same for all features, and weight decay pulls towards the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sld_user_dir.clustering.kmeans_file import Centroids, KMeansError
from sld_user_dir.quantisation.layer_weights import LayerWeights


@dataclass(frozen=True)
class Assignment:
    """What the quantiser makes of n frames.

    Attributes:
        units: (n,) int64, what the frames are from now on, as inputs and as targets.
        weights: (n, K), the shares of the units' embeddings in each frame's; None where it is the unit's own alone.
        log_probabilities: (n, K), without noise.
    """

    units: Tensor
    weights: Optional[Tensor]
    log_probabilities: Tensor


class DifferentiableKMeans(nn.Module):
    """Frames to units, trained by gradients.

    Args:
        start: the centroids that it starts from.
        sharpness: s.
        hard: the hard form instead of the soft one.
        layer_weights: of frames that come as hidden states of several layers; None: as frames.

    Attributes:
        shift: (K, D), the parameters.
    """

    start: Tensor
    unit_of_length: Tensor

    def __init__(
        self, start: Centroids, sharpness: float = 1.0, hard: bool = True, layer_weights: Optional[LayerWeights] = None
    ):
        super().__init__()
        if start.num_units < 2:
            raise KMeansError(start.path, "one centroid, so nothing to choose", "start from two units or more")
        values = torch.from_numpy(start.values.copy())
        spacing = float(start.nearest(2)[1][:, 1].mean())
        if not spacing:
            raise KMeansError(start.path, "each centroid equals another one", "train the k-means on fewer units")
        self.path, self.sharpness, self.hard, self.squared_spacing = start.path, sharpness, hard, spacing
        self.register_buffer("start", values)
        self.register_buffer("unit_of_length", (values - values.mean(0)).square().mean().sqrt())
        self.shift = nn.Parameter(torch.zeros_like(values))
        self.layer_weights = layer_weights

    @property
    def num_units(self) -> int:
        """K."""
        return int(self.start.size(0))

    @property
    def centroids(self) -> Tensor:
        """(K, D), as they are now."""
        return self.start + self.unit_of_length * self.shift

    def log_probabilities(self, frames: Tensor) -> Tensor:
        """log p (n, K) of frames (n, D), or of their layers (n, L, D).

        Raises:
            KMeansError: frames of another dimension, or of other layers.
        """
        if self.layer_weights is not None:
            layers = self.layer_weights.layers
            if frames.dim() != 3 or frames.size(1) != len(layers):
                problem = f"frames of shape {tuple(frames.shape)} for a sum of {len(layers)} layers"
                raise KMeansError(self.path, problem, "give the states of all layers, (n, L, D)")
            frames = self.layer_weights(frames)
        if frames.dim() != 2 or frames.size(1) != self.start.size(1):
            raise KMeansError(
                self.path,
                f"frames of {frames.size(-1)} dimensions for centroids of {self.start.size(1)}",
                "make them by the features that the k-means was trained on",
            )
        centroids = self.centroids.to(torch.float64 if frames.dtype == torch.float64 else torch.float32)
        frames = frames.to(centroids.dtype)
        # |x|^2 is the same for all units
        scores = 2 * frames @ centroids.t() - centroids.square().sum(1)
        return F.log_softmax(self.sharpness / self.squared_spacing * scores, dim=1)

    def forward(self, frames: Tensor, temperature: float = 1.0) -> Assignment:
        """Assign frames (n, D), or (n, L, D) of layers; a sample at this temperature in training, else the nearest."""
        log_p = self.log_probabilities(frames)
        if not self.training:
            return Assignment(log_p.argmax(1), None, log_p)
        noise = -torch.empty_like(log_p).exponential_().log()
        weights = F.softmax((log_p + noise) / temperature, dim=1)
        units = weights.argmax(1)
        if self.hard:
            weights = F.one_hot(units, self.num_units).to(weights.dtype) + weights - weights.detach()
        return Assignment(units, weights, log_p)
