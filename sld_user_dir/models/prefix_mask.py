"""Prefix-LM attention: the prompt sees all of itself, the text what comes before it.

Raffel et al. 2020 (T5, arXiv 1910.10683, section 3.2.1) call it "causal with prefix". The prompt is
what comes up to the separator, which is read off the tokens, so that training, decoding and packed
rows cannot disagree about it. A row without a separator is causal throughout.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sld_user_dir.compatibility import Conflict
from sld_user_dir.losses.term import LOSS_ON_SPEECH
from sld_user_dir.sequences.feature_names import PREFIX_LM, TASK_TOKENS

CONFLICTS = (
    Conflict(
        frozenset({PREFIX_LM, LOSS_ON_SPEECH}),
        "speech units see the units after them, which a loss on speech would have to predict",
        "use --criterion masked_ce, or leave --prefix-lm out",
    ),
    Conflict(
        frozenset({PREFIX_LM, TASK_TOKENS}),
        "for speech recognition alone: not every task of a mixture has a <sep>",
        "leave --prefix-lm out, or train with a vocabulary without tasks",
    ),
)


def prefix_mask(tokens: Tensor, separator: int) -> Tensor:
    """(B, 1, L, L) bool: position i of tokens (B, L) sees position j. Padding stands on the right."""
    ends = tokens == separator
    prefix = torch.where(ends.any(1), ends.int().argmax(1) + 1, 0)  # (B,)
    at = torch.arange(tokens.size(1), device=tokens.device)
    return ((at <= at[:, None]) | (at < prefix[:, None, None]))[:, None]
