"""StableMask: the masked half of causal attention takes part in the softmax, and is dropped after it.

Source: Yin et al. 2024, "StableMask: Refining Causal Masking in Decoder-only Transformer", arXiv 2402.04779. Its form
is known here from the abstract and the authors' program: with scores A, C the lower triangle of ones, and
pseudo-scores P in the strict upper triangle, which depend on the column alone and fall from left to right,

    attention = (softmax(A * C + P) * C) V,        P_rc = -gamma c   for columns c > r, counted from 0

A row's weights then sum to less than 1: a position may attend to little, and how little tells where it stands, since
the pseudo-scores to the right of it get fewer and smaller. What a row needs to know of them is their mass alone,

    Z_r = sum over c > r of exp(-gamma c) = exp(-gamma (r + 1)) / (1 - exp(-gamma))

where the row is taken to be endless. In a row that ends with its sequence the mass would depend on text that is not
yet written, and on padding; so training and decoding both use the endless row here. With S_r the sum of exp(A_rc)
over the columns up to r, the weights are exp(A_rc) / (S_r + Z_r): those of ordinary attention with one more key,
whose score is log Z_r and whose value is 0. `with_pseudo_key` appends that key so that the fast kernels, which hold no
matrix of scores, take it for one of their own.
"""

from __future__ import annotations

import math
from typing import Any, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sld_user_dir.compatibility import Conflict
from sld_user_dir.errors import InputError
from sld_user_dir.sequences.feature_names import PREFIX_LM, STABLE_MASK

CONFLICTS = (
    Conflict(
        frozenset({STABLE_MASK, PREFIX_LM}),
        "its pseudo-scores stand where a causal mask hides, and a prefix sees itself whole",
        f"leave {STABLE_MASK} or {PREFIX_LM} out",
    ),
)
EXTRA_DIMENSIONS = 8
"""Added to the width of a head for the key's score: two are needed, and kernels like multiples of 8."""


class StableMask(nn.Module):
    """The pseudo-scores of a decoder: no parameters, but checkpoints hold the decay, and another one is refused.

    Args:
        decay: gamma, above 0. The pseudo-scores of a row reach over some 1 / gamma positions.

    Raises:
        InputError: no decay, so that the mass of an endless row is infinite.
    """

    def __init__(self, decay: float):
        super().__init__()
        if not 0 < decay < math.inf:
            raise InputError(
                f"--stable-mask-decay {decay:g}", "the pseudo-scores must fall off", "choose it above 0, such as 0.01"
            )
        self.decay = decay

    def log_mass(self, positions: Tensor) -> Tensor:
        """log Z_r of positions counted from 0, of any shape; float64."""
        return -self.decay * (positions.double() + 1) - math.log(-math.expm1(-self.decay))

    def get_extra_state(self) -> Tensor:
        """The decay; a tensor, since programs that average checkpoints know nothing else."""
        return torch.tensor(self.decay, dtype=torch.float64)

    def set_extra_state(self, state: Any) -> None:
        """Refuse a checkpoint of another decay.

        Raises:
            InputError: it is one.
        """
        stored = float(state)
        if not math.isclose(stored, self.decay, rel_tol=1e-6):
            raise InputError(
                f"--stable-mask-decay {self.decay:g}",
                f"the checkpoint was trained with {stored:g}",
                f"use --stable-mask-decay {stored:g}",
            )


def with_pseudo_key(q: Tensor, k: Tensor, v: Tensor, log_mass: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (B, H, L, D) to such of (B, H, 1 + L, D + 8), for causal attention without scaling.

    The new key comes first, where all queries see it; the first query of the result is of no use, and so are the new
    dimensions of its values. The score takes two dimensions, since one number in half precision would be too coarse.

    Args:
        q: already multiplied by the attention's scale.
        log_mass: (L,), of `StableMask.log_mass`.
    """
    coarse = log_mass.to(q.dtype)
    fine = (log_mass - coarse).to(q.dtype)
    score = F.pad(torch.stack([coarse, fine], dim=1), (0, EXTRA_DIMENSIONS - 2))  # (L, 8)
    q = F.pad(torch.cat([q, score.expand(*q.shape[:2], -1, -1)], dim=3), (0, 0, 1, 0))
    k, v = (F.pad(part, (0, EXTRA_DIMENSIONS, 1, 0)) for part in (k, v))
    k[:, :, 0, -EXTRA_DIMENSIONS : 2 - EXTRA_DIMENSIONS] = 1
    return q, k, v


def without_pseudo_key(attended: Tensor) -> Tensor:
    """What attention made of the results of `with_pseudo_key`, (B, H, 1 + L, D + 8), to (B, H, L, D)."""
    return attended[:, :, 1:, :-EXTRA_DIMENSIONS]


def softmax_with_mass(scores: Tensor, log_mass: Tensor) -> Tensor:
    """Weights (..., T) of scores (..., T) beside a mass (..., 1), where the matrix of scores is there anyway."""
    mass = log_mass.to(scores.dtype).expand(*scores.shape[:-1], 1)
    return torch.softmax(torch.cat([scores, mass], dim=-1), dim=-1)[..., :-1]
