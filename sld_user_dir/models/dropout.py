"""Dropout on a CPU for a quarter of the time: 16 random bits an element, one bit remembered.

torch draws one Bernoulli variable after the other there, at some 6 ns each, which makes dropout a
tenth of a training step; and it keeps a float for each until the backward pass.
"""

from typing import Any, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 2**16  # the probability is rounded to a multiple of 1 / LEVELS


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """``F.dropout``; on a CPU with other random numbers, from the same generator."""
    if not training or p == 0:
        return x
    return _Dropout.apply(x, p) if x.device.type == "cpu" else F.dropout(x, p)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        dropped = round(p * LEVELS)
        kept = random_bits(x.numel()) >= dropped - LEVELS // 2
        ctx.scale = LEVELS / (LEVELS - dropped) if dropped < LEVELS else 0.0
        ctx.kept = kept.view(x.shape)
        return (x * ctx.kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, None]:
        return (grad * ctx.kept).mul_(ctx.scale), None


def random_bits(count: int) -> Tensor:
    """(count,) int16, uniform over its whole range."""
    draws = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    return draws.view(torch.int16)[:count]
