"""Whether the units of a training collapse: a loss against it, and what is logged of it."""

from __future__ import annotations

import math
from typing import Dict

import torch
from torch import Tensor, nn

from sld_user_dir.quantisation.differentiable_kmeans import DifferentiableKMeans

MEMORY_UPDATES = 100
"""Updates that `UnitUsage` looks back over."""


def collapse_loss(log_probabilities: Tensor) -> Tensor:
    """1 - H(q) / log K, 0-dim, of log-probabilities (n, K), q being their mean over the frames.

    0 where the frames share all units evenly, 1 where all are one unit. Speech does not use its units evenly, so the
    weight should be small.
    """
    mean = log_probabilities.exp().mean(0)
    return 1 + torch.xlogy(mean, mean).sum() / math.log(log_probabilities.size(1))


class UnitUsage(nn.Module):
    """Which units frames were given to in the last updates of a training; a checkpoint remembers it."""

    idle_updates: Tensor
    shares: Tensor

    def __init__(self, num_units: int):
        super().__init__()
        self.register_buffer("idle_updates", torch.full((num_units,), MEMORY_UPDATES))
        self.register_buffer("shares", torch.zeros(num_units))
        self._agreement = 1.0

    @torch.no_grad()
    def add(self, units: Tensor, log_probabilities: Tensor) -> None:
        """Take note of the units (n,) of an update's batch, sampled by these log-probabilities (n, K)."""
        self._agreement = float((units == log_probabilities.argmax(1)).float().mean())
        counts = torch.bincount(units, minlength=len(self.shares))
        self.idle_updates.add_(1).masked_fill_(counts > 0, 0)
        forget = 1 / MEMORY_UPDATES if bool(self.shares.any()) else 1.0
        self.shares.lerp_((counts / max(len(units), 1)).to(self.shares), forget)

    def figures(self, quantiser: DifferentiableKMeans) -> Dict[str, float]:
        """For the log.

        Returns:
            `units_used`, those with a frame in the last `MEMORY_UPDATES` updates; `unit_agreement`, the share of
            the last update's frames that were given to their nearest centroid; `unit_perplexity`, exp of the entropy of
            all units' shares; `centroid_drift`, the root mean square distance of the centroids from their
            start, in distances between neighbours; `layer_weight_L` of each layer L, where they are learnt.
        """
        shares = self.shares.double()
        shares = shares / shares.sum().clamp(min=1e-12)
        layers = quantiser.layer_weights
        weights = {} if layers is None else dict(zip(layers.layers, layers.values.tolist()))
        moved = (quantiser.centroids - quantiser.start).detach().double()
        return {
            "units_used": float((self.idle_updates < MEMORY_UPDATES).sum()),
            "unit_agreement": self._agreement,
            "unit_perplexity": float((-torch.xlogy(shares, shares).sum()).exp()),
            "centroid_drift": float((moved.square().sum(1).mean() / quantiser.squared_spacing).sqrt()),
            **{f"layer_weight_{layer}": weight for layer, weight in weights.items()},
        }
