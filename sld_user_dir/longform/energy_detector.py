"""Where speech is, by energy: what stands out from the background around it.

The background of a moment is the level that a tenth of the frames of a block fall below, the least of the blocks within
some 15 seconds. Speech is what exceeds it by a quarter of the distance to the loud parts of the recording, at least
6 dB. What is within 12.5 dB of the loud parts (a quarter of their amplitude) is speech in any case, and what is 50 dB
below them is none: so where noise hides the pauses, everything counts as speech and nothing is lost. Where pauses make
less than a tenth of a recording, its quietest passages are its background: by energy alone, speech that is more than
12.5 dB below the rest can't be told from noise there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import FloatArray
from sld_user_dir.longform.frame_power import FRAMES_A_SECOND, FramePower, Power, frame_power

Spans = npt.NDArray[np.int64]
"""(n, 2): first sample and end (exclusive) of stretches, in order, disjoint."""

BLOCK_FRAMES = 5 * FRAMES_A_SECOND
NEIGHBOURS = 3  # blocks on either side whose background counts
BACKGROUND_PERCENTILE = 10
LEAST_MARGIN_DB, MARGIN_SHARE = 6.0, 0.25
ALWAYS_SPEECH_DB, NEVER_SPEECH_DB = 12.5, 50.0  # below the loud parts
LOUD_FRAMES, LOUD_SHARE = 20, 1 / 200  # so many frames, or this share of them, are the loud parts
NOTHING_DB = -100.0  # a recording whose loud parts are below this holds nothing


def speech_by_energy(wave: FloatArray, sample_rate_hz: int) -> Spans:
    """Stretches of a waveform (n_samples,) that are speech, or any other sound that stands out."""
    frames = frame_power(wave, sample_rate_hz)
    return spans_of(speech_frames(frames), frames.hop, len(wave))


def speech_frames(frames: FramePower) -> npt.NDArray[np.bool_]:
    """(T,) whether each frame is speech."""
    levels = frames.decibels
    if not len(levels):
        return np.zeros(0, dtype=bool)
    rank = min(len(levels), max(LOUD_FRAMES, int(len(levels) * LOUD_SHARE)))
    loud = np.partition(levels, len(levels) - rank)[len(levels) - rank]
    if levels.max() < NOTHING_DB:
        return np.zeros(len(levels), dtype=bool)
    background = _background(levels)
    margin = np.maximum(LEAST_MARGIN_DB, MARGIN_SHARE * (loud - background))
    threshold = np.clip(background + margin, loud - NEVER_SPEECH_DB, loud - ALWAYS_SPEECH_DB)
    speech: npt.NDArray[np.bool_] = levels >= threshold
    return speech


def _background(levels: Power) -> Power:
    """(T,) level of the background around each frame."""
    starts = range(0, len(levels), BLOCK_FRAMES)
    blocks = np.array([np.percentile(levels[s : s + BLOCK_FRAMES], BACKGROUND_PERCENTILE) for s in starts])
    padded = np.pad(blocks, NEIGHBOURS, mode="edge")
    least = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1).min(axis=1)
    return np.repeat(least, BLOCK_FRAMES)[: len(levels)]


def spans_of(speech: npt.NDArray[np.bool_], hop: int, n_samples: int) -> Spans:
    """Runs of true frames as samples."""
    steps = np.diff(np.concatenate([[False], speech, [False]]).astype(np.int8))
    spans = np.stack([np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)], axis=1) * hop
    return np.minimum(spans, n_samples).astype(np.int64)
