"""Dropout on a CPU for a third of the time: 16 random bits an element.

torch draws one Bernoulli variable after the other there, at some 6 ns each, which makes dropout a
tenth of a training step. Here the noise is kept, two bytes an element, and compared again in the
backward pass: straight into floats, since products with booleans are slow.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 2**16  # the probability is rounded to a multiple of 1 / LEVELS


class Noise(NamedTuple):
    """Which elements of a tensor are dropped, and what the others are multiplied by."""

    bits: Tensor  # int16
    first_kept: int
    scale: float

    def times(self, x: Tensor) -> Tensor:
        """A new tensor: x, with elements dropped."""
        kept = torch.ge(self.bits, self.first_kept, out=torch.empty(x.shape, dtype=x.dtype))
        return kept.mul_(self.scale).mul_(x)


def draw_noise(x: Tensor, p: float) -> Noise:
    """Noise for a CPU tensor, from torch's generator."""
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    dropped = round(p * LEVELS)
    scale = LEVELS / (LEVELS - dropped) if dropped < LEVELS else 0.0
    return Noise(draws.view(torch.int16)[: x.numel()].view(x.shape), dropped - LEVELS // 2, scale)


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """`F.dropout`; on a CPU with other random numbers, from the same generator."""
    if not training or p == 0:
        return x
    return _Dropout.apply(x, p) if x.device.type == "cpu" else F.dropout(x, p)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        ctx.noise = draw_noise(x, p)
        return ctx.noise.times(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, None]:
        return ctx.noise.times(grad), None
