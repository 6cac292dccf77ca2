"""The loss of one batch from what a model gives, whatever the framework that runs it."""

from __future__ import annotations

from typing import List, Optional, Tuple, Union

import torch
from torch import Tensor

from sld_user_dir.losses.fused import fused_loss
from sld_user_dir.losses.objective import Objective, plain_loss
from sld_user_dir.losses.positions import Positions
from sld_user_dir.losses.term import Measure


def batch_loss(
    objective: Objective,
    outputs: Tensor,
    matrix: Optional[Union[Tensor, List[Tensor]]],
    everywhere: Positions,
    target: Tensor,
    divisors: Tensor,
    own: Tensor,
    chunk_size: Optional[int] = None,
) -> Tuple[Tensor, List[Measure]]:
    """The share (nats, 0-dim) that a batch has in the loss of its update, and what is logged of it.

    Args:
        outputs: hidden states (B, L, d), or with `matrix` None logits (B, L, V).
        matrix: output matrix (V, d) of the fused form, or its parts.
        everywhere: all positions of the batch.
        target: ids (B, L).
        divisors: (terms,) of the whole update.
        own: (terms,) of this batch.
        chunk_size: positions that the fused form projects at a time.
    """
    at = objective.select(everywhere)
    if matrix is None:
        loss, stats, correct = plain_loss(outputs, at, objective, divisors)
    else:
        loss, stats, correct = fused_loss(outputs, matrix, at, objective, divisors, chunk_size)
    measures = objective.measures(stats, at, correct, own)
    if objective.sequence_terms:
        whole = torch.cat(matrix) if isinstance(matrix, list) else matrix
        value, more = objective.sequence_losses(outputs, whole, target, divisors, own)
        loss, measures = loss + value, measures + more
    padding = target == at.layout.pad
    places = torch.tensor(padding.numel(), device=padding.device)
    return loss, [*measures, Measure("padding", padding.sum(), places, "share")]
