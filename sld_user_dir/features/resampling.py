"""Change of sample rate and speed, by soxr."""

from __future__ import annotations

import numpy as np
import soxr

from sld_user_dir.arrays import FloatArray

RESAMPLER_QUALITY = "HQ"  # soxr's 20-bit recipe; part of what makes features reproducible


def resample(wave: FloatArray, from_hz: int, to_hz: int, speed: float = 1.0) -> FloatArray:
    """Change rate and speed in one pass of the resampler.

    Speed perturbation moves tempo and pitch together (Ko et al. 2015, "Audio augmentation
    for speech recognition"): the signal is taken to have been recorded at `speed * from_hz`.
    """
    if speed <= 0:
        raise ValueError(f"speed must be positive, not {speed}")
    if from_hz * speed == to_hz:
        return wave
    out = soxr.resample(wave, from_hz * speed, to_hz, quality=RESAMPLER_QUALITY)
    return np.ascontiguousarray(out, dtype=np.float32)


class BlockResampler:
    """What `resample` makes of a whole waveform, of one that comes block after block."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._same = from_hz == to_hz
        self._stream = soxr.ResampleStream(from_hz, to_hz, 1, "float32", RESAMPLER_QUALITY)

    def __call__(self, block: FloatArray, last: bool = False) -> FloatArray:
        """What can be told by now, (n,), perhaps nothing: a sample waits for some that follow it, or for the end."""
        return block if self._same else np.asarray(self._stream.resample_chunk(block, last), dtype=np.float32)

    def rest(self) -> FloatArray:
        """What still waits, when no more comes."""
        return self(np.zeros(0, np.float32), last=True)


def perturb_speed(wave: FloatArray, sample_rate_hz: int, speed: float) -> FloatArray:
    """`wave` played `speed` times as fast at the same rate: about n_samples / speed long."""
    return resample(wave, sample_rate_hz, sample_rate_hz, speed)
