"""The beginning of a prompt that a decoder has read already, so that a longer prompt goes on from there.

A stream's prompt grows: each chunk adds units, and what stands behind them, the separator and the text, is new each
time. In causal attention keys and values depend on what comes before them alone, so those of the units stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional

from torch import Tensor


@dataclass(frozen=True)
class PromptPast:
    """Of one prompt of P tokens, what the layers made of it.

    Shapes: H heads of keys, D width of a head, V outputs.
    """

    tokens: Tensor
    """(P,) ids"""
    keys: List[Tensor]
    """of each layer (1, H, D, P)"""
    values: List[Tensor]
    """of each layer (1, H, P, D)"""
    logits: Optional[Tensor]
    """(1, P, V) of the token after each position, where they were asked for"""

    def __len__(self) -> int:
        return len(self.tokens)

    def first(self, count: int) -> PromptPast:
        """Its first `count` tokens."""
        return PromptPast(
            self.tokens[:count],
            [one[..., :count] for one in self.keys],
            [one[:, :, :count] for one in self.values],
            None if self.logits is None else self.logits[:, :count],
        )

    def shared_with(self, prompt: Tensor) -> int:
        """Tokens at the beginning of another prompt (P',) that are the same."""
        both = min(len(self.tokens), len(prompt))
        differ = (self.tokens[:both] != prompt[:both]).nonzero()
        return int(differ[0]) if len(differ) else both
