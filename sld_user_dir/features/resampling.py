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


def perturb_speed(wave: FloatArray, sample_rate_hz: int, speed: float) -> FloatArray:
    """`wave` played `speed` times as fast at the same rate: about n_samples / speed long."""
    return resample(wave, sample_rate_hz, sample_rate_hz, speed)
