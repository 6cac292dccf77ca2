"""Reading audio: any format and rate of libsndfile, mixed to mono, resampled by soxr.

Waveforms are float32 vectors, shape (n_samples,), nominally within [-1, 1].
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import soundfile
import soxr

from sld_user_dir.arrays import FloatArray, PathLike
from sld_user_dir.errors import InputError
from sld_user_dir.files import refuse_lfs_pointer

EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".sph")
RESAMPLER_QUALITY = "HQ"  # soxr's 20-bit recipe; part of what makes features reproducible


class AudioError(InputError):
    """A file that cannot be used as speech; the message names it and tells why."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header claims; a truncated file holds less."""

    n_samples: int
    sample_rate_hz: int

    @property
    def seconds(self) -> float:
        """Length at the file's own rate."""
        return self.n_samples / self.sample_rate_hz


def probe(path: PathLike) -> AudioInfo:
    """Length and rate by the header alone.

    Raises:
        AudioError: missing, zero bytes, a folder, or no format that libsndfile knows.
    """
    path = Path(path)
    _check_regular(path)
    try:
        info = soundfile.info(os.fsencode(path))
    except (soundfile.SoundFileError, RuntimeError) as error:
        refuse_lfs_pointer(path, AudioError)
        raise AudioError(path, f"not readable as audio ({_reason(error)})") from error
    return AudioInfo(int(info.frames), int(info.samplerate))


def read_audio(path: PathLike) -> tuple[FloatArray, int]:
    """Decode a whole file; several channels are averaged.

    Returns:
        waveform (n_samples,), and its sample rate in Hz.

    Raises:
        AudioError: undecodable, truncated, without samples, or with NaN or infinite ones.
    """
    path = Path(path)
    _check_regular(path)
    try:
        with soundfile.SoundFile(os.fsencode(path)) as handle:
            expected, rate = handle.frames, int(handle.samplerate)
            samples = handle.read(dtype="float32", always_2d=True)  # (n_samples, channels)
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        refuse_lfs_pointer(path, AudioError)
        raise AudioError(path, f"not readable as audio ({_reason(error)})") from error
    if len(samples) == 0:
        raise AudioError(path, "no samples")
    if len(samples) < expected:
        raise AudioError(path, f"truncated, {len(samples)} of {expected} samples")
    wave = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not np.isfinite(wave).all():
        raise AudioError(path, "holds NaN or infinite samples")
    return np.ascontiguousarray(wave, dtype=np.float32), rate


def load_audio(path: PathLike, sample_rate_hz: int, speed: float = 1.0) -> FloatArray:
    """Decode, play `speed` times as fast, and bring to `sample_rate_hz`; see `resample`."""
    wave, rate = read_audio(path)
    return resample(wave, rate, sample_rate_hz, speed)


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


def reject_reason(seconds: float, min_seconds: float, max_seconds: Optional[float]) -> Optional[str]:
    """Why a length is unusable, or None; both limits are inclusive."""
    if seconds == 0:
        return "no samples"
    if seconds < min_seconds:
        return f"too short: {seconds:.3f} s, at least {min_seconds:g} s wanted"
    if max_seconds is not None and seconds > max_seconds:
        return f"too long: {seconds:.3f} s, at most {max_seconds:g} s wanted"
    return None


def _check_regular(path: Path) -> None:
    """libsndfile's own words for these cases ("System error") tell a user nothing."""
    try:
        if path.is_dir():
            raise AudioError(path, "is a folder")
        if path.stat().st_size == 0:
            raise AudioError(path, "zero bytes")
    except OSError as error:
        raise AudioError(path, f"{error.strerror or error}") from error


def _reason(error: BaseException) -> str:
    return str(error).split(": ", 1)[-1].strip() or type(error).__name__
