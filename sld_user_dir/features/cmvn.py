"""Mean and variance normalisation of frames, over an utterance or over a speaker.

Spectral units otherwise encode the voice and the channel before the words. Encoders learnt on
thousands of voices (HuBERT and relatives) do without.
"""

from __future__ import annotations

from typing import Optional

import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import FloatArray

MIN_STD = 1e-3  # a constant dimension (digital silence) must not explode


class CmvnStats:
    """Running count, mean and variance of each dimension, merged in float64.

    Chan's pairwise update: sums of squares would cancel on long, loud speakers.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean: npt.NDArray[np.float64] = np.zeros(dim)
        self._m2: npt.NDArray[np.float64] = np.zeros(dim)

    def add(self, frames: FloatArray) -> None:
        """Take in frames (T, D)."""
        if len(frames) == 0:
            return
        total = self.count + len(frames)
        mean = frames.mean(axis=0, dtype=np.float64)
        m2 = np.square(frames - mean).sum(axis=0)
        delta = mean - self.mean
        self._m2 += m2 + np.square(delta) * self.count * len(frames) / total
        self.mean = self.mean + delta * len(frames) / total
        self.count = total

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """Standard deviation (D,), at least MIN_STD."""
        return np.maximum(np.sqrt(self._m2 / max(self.count, 1)), MIN_STD)


def normalise(frames: FloatArray, stats: Optional[CmvnStats] = None) -> FloatArray:
    """(frames - mean) / std, by `stats` or, without them, by the frames' own."""
    if stats is None:
        stats = CmvnStats(frames.shape[1])
        stats.add(frames)
    if len(frames) == 0:
        return frames
    return ((frames - stats.mean) / stats.std).astype(np.float32)
