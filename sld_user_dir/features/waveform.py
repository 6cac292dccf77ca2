"""Reading audio: the formats of libsndfile that tell their end, any rate, mixed to mono, resampled by soxr.

Waveforms are float32 vectors, shape (n_samples,), nominally within [-1, 1].
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional

import numpy as np
import soundfile

from sld_user_dir.arrays import FloatArray, PathLike
from sld_user_dir.errors import InputError
from sld_user_dir.features.audio_container import CHECKED, checked_length, source_of
from sld_user_dir.features.resampling import resample
from sld_user_dir.files import refuse_lfs_pointer

EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".sph")
RESTORE = "copy it again from its source; if it is whole there too, write it anew by sox or ffmpeg"
BLOCK_VALUES = 1 << 26


class AudioError(InputError):
    """A file that cannot be used as speech; the message names it and tells why."""

    @property
    def reason(self) -> str:
        """Problem and remedy, for a table that names the file in a column of its own."""
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem


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
    """Length and rate by the header alone, and the end by the container.

    Raises:
        AudioError: missing, zero bytes, a folder, truncated, or no format that libsndfile knows.
    """
    path = Path(path)
    with _opened(path) as (handle, length):
        return AudioInfo(length, int(handle.samplerate))


def read_audio(path: PathLike, n_samples: Optional[int] = None) -> tuple[FloatArray, int]:
    """Decode a whole file; several channels are averaged.

    Args:
        n_samples: what its manifest says; None where none does.

    Returns:
        waveform (n_samples,), and its sample rate in Hz.

    Raises:
        AudioError: undecodable, truncated, without samples, with NaN or infinite ones, or of another length than said.
    """
    path = Path(path)
    with _opened(path) as (handle, expected):
        rate = int(handle.samplerate)
        wave = np.concatenate(list(_blocks(handle)) or [np.zeros(0, np.float32)])
    if expected == 0:
        raise AudioError(path, "no samples", "remove it, or record it again")
    if len(wave) < expected:
        raise AudioError(path, f"truncated, {len(wave)} of {expected} samples", RESTORE)
    if n_samples is not None and len(wave) != n_samples:
        problem = f"holds {len(wave)} samples, but its manifest says {n_samples}: it has changed since"
        raise AudioError(path, problem, "restore it, or make the manifest again by sld audio")
    if not np.isfinite(wave).all():
        raise AudioError(path, "holds NaN or infinite samples", "write it again from its source")
    return wave, rate


def _blocks(handle: soundfile.SoundFile) -> Iterator[FloatArray]:
    """Waveforms (n,) of consecutive parts, nearly always one: a header may promise more than memory holds."""
    left = handle.frames
    while left > 0:
        wanted = min(left, max(1, BLOCK_VALUES // handle.channels))
        samples = handle.read(wanted, dtype="float32", always_2d=True)  # (n, channels)
        wave = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
        yield np.ascontiguousarray(wave, dtype=np.float32)
        left -= wanted if len(samples) == wanted else left


@contextmanager
def _opened(path: Path) -> Iterator[tuple[soundfile.SoundFile, int]]:
    """A recording and its length: the one place where the package opens one, and holds its header against the file.

    Raises:
        AudioError: it cannot be opened or decoded, or its end is missing.
    """
    _check_regular(path)
    opened = False
    try:
        with soundfile.SoundFile(source_of(path)) as handle:
            if handle.format not in CHECKED:
                problem = f"a file of the kind {handle.format}, which does not tell whether it is whole"
                raise AudioError(path, problem, "convert it to FLAC or WAV")
            length, missing = checked_length(path, int(handle.frames))
            if missing:
                raise AudioError(path, missing, RESTORE)
            opened = True
            yield handle, length
    except AudioError:
        raise
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        refuse_lfs_pointer(path, AudioError)
        what = "truncated or damaged: decoding stops" if opened else "not readable as audio"
        raise AudioError(path, f"{what} ({_reason(error)})", RESTORE) from error


def load_audio(path: PathLike, sample_rate_hz: int, speed: float = 1.0, n_samples: Optional[int] = None) -> FloatArray:
    """Decode, play `speed` times as fast, and bring to `sample_rate_hz`; see `read_audio` and `resample`."""
    wave, rate = read_audio(path, n_samples)
    return resample(wave, rate, sample_rate_hz, speed)


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
