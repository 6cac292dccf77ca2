"""Power of a waveform in frames of 10 ms: what pauses and quiet points are found by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import FloatArray

FRAMES_A_SECOND = 100
SILENT_POWER = 1e-12  # -120 dB below full scale: what a frame of zeros counts as
Power = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FramePower:
    """Power (T,) of consecutive frames of `hop` samples; the last may be shorter."""

    power: Power
    hop: int

    @property
    def decibels(self) -> Power:
        """(T,) level below full scale, smoothed over three frames."""
        padded = np.concatenate([self.power[:1], self.power, self.power[-1:]])
        mean = (padded[:-2] + padded[1:-1] + padded[2:]) / 3 if len(self.power) else self.power
        decibels: Power = 10 * np.log10(mean + SILENT_POWER)
        return decibels

    def around_boundaries(self, n_frames: int) -> Power:
        """(T + 1,) mean power of the `n_frames` before and behind the beginning of each frame, and the end."""
        total = np.concatenate([[0.0], np.cumsum(self.power)])
        places = np.arange(len(self.power) + 1)
        first, last = np.maximum(places - n_frames, 0), np.minimum(places + n_frames, len(self.power))
        mean: Power = (total[last] - total[first]) / np.maximum(last - first, 1)
        return mean


def frame_power(wave: FloatArray, sample_rate_hz: int) -> FramePower:
    """Variance of each frame of a waveform (n_samples,): a constant offset has no power."""
    hop = max(1, sample_rate_hz // FRAMES_A_SECOND)
    whole = len(wave) // hop
    power = _variance(wave[: whole * hop].reshape(whole, hop))
    if len(wave) % hop:
        power = np.append(power, _variance(wave[None, whole * hop :]))
    return FramePower(power, hop)


def _variance(frames: FloatArray) -> Power:
    """(T, hop) -> (T,), without a copy of the frames."""
    squares = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / max(1, frames.shape[1])
    variance: Power = np.maximum(squares - frames.mean(axis=1, dtype=np.float64) ** 2, 0)
    return variance
