"""Causal attention with dropout on a CPU, where torch has no kernel for it but one over full (L, L).

Queries are taken by the block, each with the keys up to its own end: half of the work, and half of the
memory, of the full square. The backward pass is that of Dao et al. 2022 (FlashAttention, appendix B.2):
with P the probabilities, Z the dropout and O the output, dS = P * (dO V^T * Z - rowsum(dO * O)).
"""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sld_user_dir.models.dropout import Noise, draw_noise

BLOCK_QUERIES = 64


def dropped_causal_attention(q: Tensor, k: Tensor, v: Tensor, p: float, scale: Optional[float] = None) -> Tensor:
    """(B, H, L, D) thrice to (B, H, L, D); each probability is dropped with probability `p`.

    Args:
        scale: of the scores; by default 1 / sqrt(D).
    """
    flat = (x.reshape(-1, *x.shape[2:]) for x in (q, k, v))
    return _Attention.apply(*flat, p, q.size(3) ** -0.5 if scale is None else scale).view(v.shape)


class _Attention(torch.autograd.Function):
    """(N, L, D) thrice to (N, L, D)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, p: float, scale: float) -> Tensor:
        q = q * scale
        out, keys = torch.empty_like(v), k.transpose(1, 2)
        blocks: List[Tuple[int, int, Tensor, Noise]] = []
        for start, stop in _spans(q.size(1)):
            scores = torch.bmm(q[:, start:stop], keys[:, :, :stop])
            future = torch.full((stop - start, stop - start), float("-inf"), dtype=q.dtype).triu_(1)
            scores[:, :, start:] += future
            probabilities = scores.softmax(-1).to(v.dtype)  # autocast makes it float32
            noise = draw_noise(probabilities, p)
            out[:, start:stop] = torch.bmm(noise.times(probabilities), v[:, :stop])
            blocks.append((start, stop, probabilities, noise))
        ctx.blocks, ctx.scale = blocks, scale
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, out = ctx.saved_tensors
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        row_sums = (grad * out).sum(2, keepdim=True)
        values = v.transpose(1, 2)
        for start, stop, probabilities, noise in ctx.blocks:
            block = grad[:, start:stop]
            dv[:, :stop].baddbmm_(noise.times(probabilities).transpose(1, 2), block)
            scores = noise.times(torch.bmm(block, values[:, :, :stop]))
            scores.sub_(row_sums[:, start:stop]).mul_(probabilities)
            torch.bmm(scores, k[:, :stop], out=dq[:, start:stop])
            dk[:, :stop].baddbmm_(scores.transpose(1, 2), q[:, start:stop])
        return dq.mul_(ctx.scale), dk, dv, None, None


def _spans(length: int) -> List[Tuple[int, int]]:
    return [(start, min(start + BLOCK_QUERIES, length)) for start in range(0, length, BLOCK_QUERIES)]
