"""Reading audio: the formats of libsndfile that tell their end, any rate, mixed to mono, resampled by soxr.

Waveforms are float32 vectors, shape (n_samples,), nominally within [-1, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional

import numpy as np

from sld_user_dir.arrays import FloatArray, PathLike
from sld_user_dir.errors import InputError
from sld_user_dir.features.audio_file import AudioError, opened_audio, sample_blocks
from sld_user_dir.features.container_fault import RESTORE
from sld_user_dir.features.resampling import BlockResampler, resample
from sld_user_dir.features.signal_faults import FaultCounts

__all__ = [
    "EXTENSIONS",
    "AudioError",
    "AudioInfo",
    "audio_blocks",
    "check_length_limits",
    "load_audio",
    "probe",
    "read_audio",
    "reject_reason",
]
EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".sph")


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header claims; a truncated file holds less."""

    n_samples: int
    sample_rate_hz: int

    @property
    def seconds(self) -> float:
        """Length at the file's own rate."""
        return self.n_samples / self.sample_rate_hz


def probe(path: PathLike, n_samples: Optional[int] = None, stated_rate_hz: Optional[int] = None) -> AudioInfo:
    """Length and rate by the header alone, and the end by the container.

    Args:
        n_samples: what its manifest says; None where none does.
        stated_rate_hz: the same of its rate.

    Raises:
        AudioError: missing, zero bytes, a folder, truncated, no format that libsndfile knows, or of another length
            or rate than said.
    """
    path = Path(path)
    with opened_audio(path) as (handle, length):
        info = AudioInfo(length, int(handle.samplerate))
    _check_stated(path, info, n_samples, stated_rate_hz)
    return info


def read_audio(
    path: PathLike,
    n_samples: Optional[int] = None,
    faults: Optional[FaultCounts] = None,
    stated_rate_hz: Optional[int] = None,
) -> tuple[FloatArray, int]:
    """Decode a whole file; several channels are averaged.

    Args:
        n_samples: what its manifest says; None where none does.
        faults: counts it, if its signal has one.
        stated_rate_hz: the rate that its manifest says; None where none does.

    Returns:
        waveform (n_samples,), and its sample rate in Hz.

    Raises:
        AudioError: undecodable, truncated, without samples, with NaN or infinite ones, or of another length or
            rate than said.
    """
    path = Path(path)
    with opened_audio(path) as (handle, expected):
        rate = int(handle.samplerate)
        blocks = list(sample_blocks(handle))
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks or [np.zeros((0, 1), np.float32)])
    _check_length(path, len(samples), expected)
    _check_stated(path, AudioInfo(len(samples), rate), n_samples, stated_rate_hz)
    wave = _mono(path, samples)
    if faults is not None:
        faults.add(path, samples, rate)
    return wave, rate


def _check_length(path: Path, n_samples: int, expected: int) -> None:
    if expected == 0:
        raise AudioError(path, "no samples", "remove it, or record it again")
    if n_samples < expected:
        raise AudioError(path, f"truncated, {n_samples} of {expected} samples", RESTORE)


def _check_stated(path: Path, found: AudioInfo, n_samples: Optional[int], stated_rate_hz: Optional[int]) -> None:
    if stated_rate_hz is not None and found.sample_rate_hz != stated_rate_hz:
        problem = f"has {found.sample_rate_hz} samples a second, but its manifest says {stated_rate_hz}"
        raise AudioError(path, problem, "restore it, or correct the manifest; sld audio makes a new one")
    if n_samples is not None and found.n_samples != n_samples:
        problem = f"holds {found.n_samples} samples, but its manifest says {n_samples}: it has changed since"
        raise AudioError(path, problem, "restore it, or correct the manifest; sld audio makes a new one")


def _mono(path: Path, samples: FloatArray) -> FloatArray:
    wave = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not np.isfinite(wave).all():
        raise AudioError(path, "holds NaN or infinite samples", "write it again from its source")
    return np.ascontiguousarray(wave, dtype=np.float32)


def load_audio(
    path: PathLike,
    sample_rate_hz: int,
    speed: float = 1.0,
    n_samples: Optional[int] = None,
    faults: Optional[FaultCounts] = None,
    stated_rate_hz: Optional[int] = None,
) -> FloatArray:
    """Decode, play `speed` times as fast, and bring to `sample_rate_hz`; see `read_audio` and `resample`."""
    wave, rate = read_audio(path, n_samples, faults, stated_rate_hz)
    return resample(wave, rate, sample_rate_hz, speed)


def audio_blocks(path: PathLike, sample_rate_hz: int, block_seconds: float = 0.1) -> Iterator[FloatArray]:
    """What `load_audio` gives, in blocks (n,), each as soon as it is decoded: memory does not grow with the length.

    Raises:
        AudioError: as of `read_audio`, but what is wrong with a part is told once the parts before it were given.
    """
    path = Path(path)
    with opened_audio(path) as (handle, expected):
        resampler, n_samples = BlockResampler(int(handle.samplerate), sample_rate_hz), 0
        for samples in sample_blocks(handle, max(1, int(block_seconds * handle.samplerate))):
            n_samples += len(samples)
            yield resampler(_mono(path, samples))
    _check_length(path, n_samples, expected)
    yield resampler.rest()


def check_length_limits(min_seconds: float, max_seconds: Optional[float]) -> None:
    """Refuse limits between which no length lies, such as NaN.

    Raises:
        InputError: names both.
    """
    if not min_seconds <= (math.inf if max_seconds is None else max_seconds):
        most = "" if max_seconds is None else f" --max-seconds {max_seconds:g}"
        raise InputError(
            f"--min-seconds {min_seconds:g}{most}", "no length is usable", "take a minimum below the maximum"
        )


def reject_reason(seconds: float, min_seconds: float, max_seconds: Optional[float]) -> Optional[str]:
    """Why a length is unusable, or None; both limits are inclusive."""
    if seconds == 0:
        return "no samples"
    if seconds < min_seconds:
        return f"too short: {seconds:.3f} s, at least {min_seconds:g} s wanted"
    if max_seconds is not None and seconds > max_seconds:
        return f"too long: {seconds:.3f} s, at most {max_seconds:g} s wanted"
    return None
