"""Embeddings of frames that are shares of several units, for units that are learnt with the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sld_user_dir.compatibility import Conflict
from sld_user_dir.sequences.feature_names import CHANGED_UNITS, LEARNED_UNITS, TASK_TOKENS

CONFLICTS = (
    Conflict(
        frozenset({LEARNED_UNITS, TASK_TOKENS}),
        "for speech recognition alone: answers in speech have no frames",
        f"leave {LEARNED_UNITS} out, or train with a vocabulary without tasks",
    ),
    Conflict(
        frozenset({LEARNED_UNITS, CHANGED_UNITS}),
        "every unit is that of its frame",
        "leave the augmentation of units out",
    ),
)


@dataclass(frozen=True)
class UnitMixture:
    """What a model's unit positions hold in place of one unit each.

    Attributes:
        weights: (n, K), the shares of units in n frames.
        frame: (B, L), number of the frame that a position is of, -1 where it is of none.
    """

    weights: Tensor
    frame: Tensor

    def embed(self, x: Tensor, tokens: Tensor, table: Tensor) -> Tensor:
        """Embeddings (B, L, C) of tokens (B, L), with those of units replaced by shares of rows of the table (V, C).

        A hidden unit, whose token is <mask>, keeps its embedding.
        """
        offset = table.size(0) - self.weights.size(1)
        mixed = self.weights.to(table.dtype) @ table[offset:]  # (n, C)
        at = (self.frame >= 0) & (tokens >= offset)
        return torch.where(at.unsqueeze(-1), mixed[self.frame.clamp(min=0)].to(x.dtype), x)
