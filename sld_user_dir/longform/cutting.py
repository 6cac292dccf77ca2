"""Recordings into segments: cut at pauses, and at the quietest points where there are none.

Silence of more than `min_pause_seconds` ends a segment, which keeps up to `margin_seconds` of it on either side. What
is longer than `max_segment_seconds` is cut again, where the 0.2 seconds around the cut are quietest. So segments come
in order, do not overlap, are never longer than the maximum, and hold all speech but bursts of less than 0.05 seconds
between pauses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, List, NamedTuple, Optional

import numpy as np

from sld_user_dir.arrays import FloatArray
from sld_user_dir.errors import InputError
from sld_user_dir.longform.energy_detector import Spans, speech_by_energy
from sld_user_dir.longform.frame_power import FRAMES_A_SECOND, FramePower, frame_power
from sld_user_dir.longform.silero_detector import speech_by_silero

SHORTEST_SPEECH_SECONDS = 0.05
QUIET_FRAMES = FRAMES_A_SECOND // 10  # on either side of a cut
LEAST_MAXIMUM_SECONDS = 0.5


def _all_of_it(wave: FloatArray, sample_rate_hz: int) -> Spans:
    return np.array([[0, len(wave)]], dtype=np.int64)


DETECTORS: Dict[str, Callable[[FloatArray, int], Spans]] = {
    "energy": speech_by_energy,
    "silero": speech_by_silero,
    "none": _all_of_it,
}


@dataclass(frozen=True)
class CutOptions:
    """How long recordings are cut."""

    pauses: str = "energy"
    """how pauses are found: `energy`, `silero` (pip install silero-vad), or `none`: cut at the quietest points
    only, and leave nothing out"""
    min_pause_seconds: float = 0.5
    """silence of this length ends a segment"""
    margin_seconds: float = 0.1
    """silence that a segment keeps on either side: what the training utterances have, if that is known"""
    max_segment_seconds: Optional[float] = None
    """longest segment; a recording that is not longer is left whole. By default what the model holds"""

    def __post_init__(self) -> None:
        if self.pauses not in DETECTORS:
            raise InputError(f"--pauses {self.pauses}", "no such way to find them", f"choose {', '.join(DETECTORS)}")
        if not 0 < self.min_pause_seconds < float("inf"):
            problem = "a pause has some length"
            raise InputError(f"--min-pause-seconds {self.min_pause_seconds:g}", problem, "take 0.2 to 1")
        if not 0 <= self.margin_seconds < float("inf"):
            raise InputError(f"--margin-seconds {self.margin_seconds:g}", "less than no silence", "take 0 to 0.3")
        if self.max_segment_seconds is not None and not self.max_segment_seconds >= LEAST_MAXIMUM_SECONDS:
            where = f"--max-segment-seconds {self.max_segment_seconds:g}"
            raise InputError(where, "too short for a word", f"take {LEAST_MAXIMUM_SECONDS:g} or more")


class Stretch(NamedTuple):
    """Samples of a recording; `end` is exclusive."""

    start: int
    end: int


def cut_recording(wave: FloatArray, sample_rate_hz: int, max_samples: int, options: CutOptions) -> List[Stretch]:
    """The segments of a waveform (n_samples,); none where there is no speech.

    Args:
        max_samples: of a segment.

    Raises:
        InputError: the detector's package is not installed, or the maximum is shorter than three frames of 10 ms.
    """
    frames = frame_power(wave, sample_rate_hz)
    if max_samples < 3 * frames.hop:
        problem = f"segments of at most {max_samples} samples"
        raise InputError(None, problem, "the model holds too little; train one with a higher --tokens-per-sample")
    spans = DETECTORS[options.pauses](wave, sample_rate_hz)
    joined = join_at_short_pauses(spans, int(options.min_pause_seconds * sample_rate_hz))
    long_enough = joined[:, 1] - joined[:, 0] >= SHORTEST_SPEECH_SECONDS * sample_rate_hz
    kept = with_silence(joined[long_enough], int(options.margin_seconds * sample_rate_hz), len(wave))
    quiet = frames.around_boundaries(QUIET_FRAMES)
    return [piece for start, end in kept.tolist() for piece in _at_quietest(start, end, max_samples, frames, quiet)]


def join_at_short_pauses(spans: Spans, min_pause: int) -> Spans:
    """Spans (n, 2) of which those with less than `min_pause` samples between them have become one."""
    if not len(spans):
        return spans
    ends_here = np.append(spans[1:, 0] - spans[:-1, 1] >= min_pause, True)
    begins_here = np.concatenate([[True], ends_here[:-1]])
    return np.stack([spans[begins_here, 0], spans[ends_here, 1]], axis=1)


def with_silence(spans: Spans, kept: int, n_samples: int) -> Spans:
    """Spans (n, 2) widened by up to `kept` samples on either side, at most to the middle of the pause."""
    if not len(spans):
        return spans
    half = (spans[1:, 0] - spans[:-1, 1]) // 2
    before = np.minimum(np.concatenate([spans[:1, 0], half]), kept)
    behind = np.minimum(np.append(half, n_samples - spans[-1, 1]), kept)
    return np.stack([spans[:, 0] - before, spans[:, 1] + behind], axis=1)


def _at_quietest(start: int, end: int, longest: int, frames: FramePower, quiet: np.ndarray) -> List[Stretch]:
    """Pieces of at most `longest` samples; none of them is short, so that the next cut has a choice, too."""
    pieces = []
    while end - start > longest:
        left = end - start
        low, high = (longest / 2, longest) if left > 1.5 * longest else (left / 3, 2 * left / 3)
        first, last = -int(-(start + low) // frames.hop), int((start + high) // frames.hop)
        cut = (first + int(np.argmin(quiet[first : last + 1]))) * frames.hop
        pieces.append(Stretch(start, cut))
        start = cut
    return [*pieces, Stretch(start, end)]
