"""Weights of an encoder's layers, trained with the centroids: what the quantiser's frames are made of."""

from __future__ import annotations

from typing import Sequence, Tuple

import torch
from torch import Tensor, nn


class LayerWeights(nn.Module):
    """Hidden states (n, L, D) to frames (n, D): the sum of w_l h_l, w = softmax(log of the start's weights + shift).

    The trained numbers are shifts, as of the centroids: weight decay pulls towards the start. A weight of 0 stays 0.

    Args:
        layers: their numbers.
        start: the weights that they start with.

    Attributes:
        shift: (L,), the parameters.
    """

    start: Tensor

    def __init__(self, layers: Sequence[int], start: Sequence[float]):
        super().__init__()
        self.layers: Tuple[int, ...] = tuple(layers)
        self.register_buffer("start", torch.tensor(start, dtype=torch.float32))
        self.shift = nn.Parameter(torch.zeros(len(start)))

    @property
    def values(self) -> Tensor:
        """(L,), as they are now; they sum to 1."""
        return learnt_weights(self.start, self.shift)

    def forward(self, states: Tensor) -> Tensor:
        """(n, L, D) -> (n, D)."""
        return torch.einsum("nld,l->nd", states, self.values.to(states.dtype))


def learnt_weights(start: Tensor, shift: Tensor) -> Tensor:
    """The weights (L,) of those of the start and their shifts, as a checkpoint holds both."""
    return torch.softmax(start.log() + shift, dim=0)
