"""What a model of the hub answers with."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Transcript:
    """A transcript that the search found."""

    text: str
    score: float
    """what the search ranks by"""
    log_prob: float
    """natural logarithm of its probability among all texts, the end included"""
    truncated: bool = False
    """the limit of tokens ended it"""


@dataclass(frozen=True)
class Score:
    """How likely a transcript is. Natural logarithms, over text symbols and the end only."""

    log_prob: float
    tokens: list[str]
    """with the end symbol"""
    token_log_probs: list[float]

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-probability of a token."""
        return math.exp(-self.log_prob / len(self.tokens))
