"""What a page shows of one recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

from sld_user_dir.arrays import FloatArray
from sld_user_dir.manifests.ctm import TimedWord
from sld_user_dir.timing.unit_times import Seconds


@dataclass(frozen=True)
class RankedText:
    """A hypothesis."""

    text: str
    score: float
    """what the search ranks by"""
    log_prob: float
    """natural logarithm"""


@dataclass(frozen=True)
class RecordingView:
    """A recording, its units and what a model says of them."""

    name: str
    wave: FloatArray
    """(n_samples,)"""
    sample_rate_hz: int
    units: Sequence[int]
    """(N,)"""
    edges: Seconds
    """(N + 1,) where units begin and end, in seconds"""
    num_units: int
    bits: Sequence[Optional[float]]
    """(N,) surprise of each unit; None where it is not known"""
    predicts_units: bool
    """the model was trained to; else its surprise says nothing"""
    words: Sequence[TimedWord]
    hypotheses: Sequence[RankedText]
    """best first"""
    confidence: Optional[float] = None
    """that the best text is right, where that is known"""

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.wave) / self.sample_rate_hz
