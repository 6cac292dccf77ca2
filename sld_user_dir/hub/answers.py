"""What a model of the hub answers with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Sequence

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.ctm import TimedWord


@dataclass(frozen=True)
class Transcript:
    """A transcript that the search found."""

    text: str
    score: float
    """what the search ranks by"""
    log_prob: float
    """natural logarithm of its probability among all texts, the end included; with CTC, the weighted sum of both"""
    truncated: bool = False
    """the limit of tokens ended it"""
    tokens: Sequence[str] = ()
    """with the end symbol"""
    token_log_probs: Sequence[float] = ()


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


@dataclass(frozen=True)
class SegmentTranscript:
    """The transcript of a part of a recording."""

    start_seconds: float
    end_seconds: float
    text: str
    score: float
    """what the search ranks by"""
    log_prob: float
    truncated: bool = False
    """the limit of tokens ended it"""
    words: Optional[Sequence[TimedWord]] = None
    """when each word was said, in seconds of the recording, where that was asked for"""
    confidence: Optional[float] = None
    """probability that the whole text is right, where the checkpoint has a confidence map"""

    def to_dict(self) -> dict[str, Any]:
        """As `sld transcribe --json` writes it."""
        known: dict[str, Any] = {
            "start": round(self.start_seconds, 3),
            "end": round(self.end_seconds, 3),
            "text": self.text,
            "score": round(self.score, 4),
            "log_prob": round(self.log_prob, 4),
            "truncated": self.truncated,
        }
        if self.confidence is not None:
            known["confidence"] = round(self.confidence, 4)
        if self.words is not None:
            known["words"] = [_word_to_dict(one) for one in self.words]
        return known


def _word_to_dict(one: TimedWord) -> dict[str, Any]:
    times = {"word": one.word, "start": round(one.start_seconds, 3), "end": round(one.end_seconds, 3)}
    return times if one.confidence is None else {**times, "confidence": round(one.confidence, 4)}


@dataclass(frozen=True)
class RecordingTranscript:
    """The transcript of a recording of any length, by segments; none where there is no speech."""

    path: Path
    seconds: float
    segments: list[SegmentTranscript]

    @property
    def text(self) -> str:
        """The texts of the segments, joined by spaces."""
        return " ".join(one.text for one in self.segments if one.text)

    def to_dict(self) -> dict[str, Any]:
        """As `sld transcribe --json` writes it: times in seconds, scores as natural logarithms."""
        segments = [one.to_dict() for one in self.segments]
        return {"path": str(self.path), "seconds": round(self.seconds, 3), "text": self.text, "segments": segments}


@dataclass(frozen=True)
class FailedRecording:
    """A recording that could not be transcribed, and why."""

    path: Path
    error: InputError

    def to_dict(self) -> dict[str, Any]:
        """As `sld transcribe --json` writes it."""
        return {"path": str(self.path), "error": str(self.error)}
