"""Audio that comes in blocks, to the units of the segment that is being said, and to where that segment ends.

Units are made of all the segment's audio anew with each chunk: an encoder whose attention or normalisation sees the
whole recording changes its mind about earlier units, and a decoder that remembers its prompt reads again what changed.
The units of the newest `right_context_seconds` wait, since they have hardly seen what follows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional, Protocol

import numpy as np

from sld_user_dir.arrays import FloatArray
from sld_user_dir.errors import InputError
from sld_user_dir.longform.energy_detector import speech_by_energy
from sld_user_dir.longform.frame_power import FRAMES_A_SECOND, frame_power
from sld_user_dir.timing.unit_times import Seconds

QUIET_FRAMES = FRAMES_A_SECOND // 10


class UnitsWithEdges(Protocol):
    """Units (N,), and when they begin and end (N + 1,), in seconds."""

    @property
    def units(self) -> list[int]:
        """The units."""

    @property
    def edges(self) -> Seconds:
        """Where they begin, and the last one ends."""


class UnitsOfWave(Protocol):
    """Waveform (n_samples,) to units."""

    def __call__(self, wave: FloatArray) -> UnitsWithEdges:
        """The units of a whole waveform."""


@dataclass(frozen=True)
class ListenOptions:
    """When text is told, and when a segment ends."""

    chunk_seconds: float = 0.4
    """audio between two partial results"""
    right_context_seconds: float = 0.1
    """newest audio whose units wait for what follows it; 0: none waits"""
    agreement: int = 2
    """hypotheses in a row that must agree on a word for it to settle"""
    keep_settled: bool = False
    """settled words are never taken back, not even by the final text of a segment"""
    end_pause_seconds: float = 0.8
    """silence that ends a segment, whose text is final then; 0: only the end of the audio does, or what the model
    holds"""

    def __post_init__(self) -> None:
        if not 0.02 <= self.chunk_seconds < float("inf"):
            raise InputError(f"--chunk-seconds {self.chunk_seconds:g}", "no chunk of speech", "take 0.2 to 1")
        if not 0 <= self.right_context_seconds < float("inf"):
            where = f"--right-context-seconds {self.right_context_seconds:g}"
            raise InputError(where, "less than no audio", "take 0 to 0.5")
        if not 0 <= self.end_pause_seconds < float("inf"):
            where = f"--end-pause-seconds {self.end_pause_seconds:g}"
            raise InputError(where, "less than no silence", "take 0.5 to 2, or 0 to wait for the end of the audio")

    @property
    def latency_seconds(self) -> float:
        """Most time from a unit's end to the word that it tells being settled, if the hypotheses agree at once."""
        return self.right_context_seconds + self.agreement * self.chunk_seconds


class SegmentEnd(NamedTuple):
    """Where a segment ends in its audio, and where the next one begins; samples."""

    end: int
    next_start: int


class HeardAudio:
    """The audio of the segment that is being said.

    Args:
        units_of: units of a waveform.
        sample_rate_hz: of the waveform.
        max_samples: of a segment: what the model holds.
        options: when a segment ends.
    """

    def __init__(self, units_of: UnitsOfWave, sample_rate_hz: int, max_samples: int, options: ListenOptions):
        self._units_of, self._rate, self._max_samples, self._options = units_of, sample_rate_hz, max_samples, options
        self._wave = np.zeros(0, np.float32)
        self.start = 0
        """sample of the stream at which the segment begins"""

    @property
    def heard(self) -> int:
        """Samples of the stream so far."""
        return self.start + len(self._wave)

    def add(self, block: FloatArray) -> None:
        """Take in what came."""
        self._wave = np.concatenate([self._wave, block.astype(np.float32, copy=False)])

    def units_so_far(self) -> list[int]:
        """Units of the segment that have seen what follows them."""
        found = self._units_of(self._wave)
        until = len(self._wave) / self._rate - self._options.right_context_seconds
        return found.units[: int(np.searchsorted(found.edges[1:], until, side="right"))]

    def whole_units(self, end: int) -> list[int]:
        """Units of the segment, which ends at a sample of it: those of offline decoding."""
        return self._units_of(self._wave[:end]).units

    def segment_end(self) -> Optional[SegmentEnd]:
        """Where the segment ends, if it has: in a long enough pause, or at a quiet point before it is too long."""
        if len(self._wave) >= self._max_samples:
            cut = self._quietest(len(self._wave) // 2, self._max_samples)
            return SegmentEnd(cut, cut)
        pause = int(self._options.end_pause_seconds * self._rate)
        if not pause or len(self._wave) < pause:
            return None
        spans = speech_by_energy(self._wave, self._rate)
        spoken_until = int(spans[-1, 1]) if len(spans) else 0
        if len(self._wave) - spoken_until < pause:
            return None
        middle = spoken_until + pause // 2 if len(spans) else 0  # where nobody spoke there is no segment
        return SegmentEnd(middle, max(middle, len(self._wave) - pause // 2))

    def begin_next(self, at: int) -> None:
        """Go on with the audio from a sample of this segment."""
        self._wave, self.start = self._wave[at:], self.start + at

    def rest(self) -> SegmentEnd:
        """All of the audio that is left, when no more comes."""
        return SegmentEnd(len(self._wave), len(self._wave))

    def _quietest(self, first: int, last: int) -> int:
        frames = frame_power(self._wave, self._rate)
        quiet = frames.around_boundaries(QUIET_FRAMES)
        low, high = first // frames.hop, min(last // frames.hop, len(quiet) - 1)
        return (low + int(np.argmin(quiet[low : high + 1]))) * frames.hop
