"""Prefix-LM attention: the prompt sees all of itself, the text what comes before it.

Raffel et al. 2020 (T5, arXiv 1910.10683, section 3.2.1) call it "causal with prefix". The prompt is
what comes up to the separator, which is read off the tokens, so that training, decoding and packed
rows cannot disagree about it. A row without a separator is causal throughout.
"""

import torch
from torch import Tensor


def prefix_mask(tokens: Tensor, separator: int) -> Tensor:
    """(B, 1, L, L) bool: position i of tokens (B, L) sees position j. Padding stands on the right."""
    ends = tokens == separator
    prefix = torch.where(ends.any(1), ends.int().argmax(1) + 1, 0)  # (B,)
    at = torch.arange(tokens.size(1), device=tokens.device)
    return ((at <= at[:, None]) | (at < prefix[:, None, None]))[:, None]
