"""What the CTC of decoders says of the units that they have read."""

from __future__ import annotations

import math
from typing import Sequence, Tuple

import torch
from torch import Tensor

from sld_user_dir.search.decoders import DecoderSession
from sld_user_dir.sequences.ctc_classes import CtcClasses


def read_ctc(
    sessions: Sequence[DecoderSession], classes: CtcClasses, prompts: Tensor, lengths: Tensor
) -> Tuple[Tensor, Tensor]:
    """Log-probabilities (B, N, C) of the classes at the positions of units, and the units (B,) of each prompt.

    Of several models the mean of their probabilities counts. The sessions' `prompt_logits` are used up.

    Args:
        sessions: of these prompts, started with `every_position`.
        prompts: (B, P), padded on the right, of `lengths` (B,).
    """
    each = []
    for session in sessions:
        assert session.prompt_logits is not None
        each.append(classes.of_outputs(at_least_float32(session.prompt_logits)).log_softmax(dim=-1))
        session.prompt_logits = None  # of no more use, and large
    log_probs = torch.stack(each).logsumexp(dim=0) - math.log(len(each))  # (B, P, C)
    unit = (prompts >= classes.unit_offset) & (torch.arange(prompts.size(1), device=prompts.device) < lengths[:, None])
    first = int(unit.any(0).int().argmax())  # <s> may come before
    return log_probs[:, first:], unit[:, first:].sum(1)


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision is widened."""
    return x.float() if x.dtype.itemsize < 4 else x
