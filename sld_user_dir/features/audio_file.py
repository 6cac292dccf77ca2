"""Opening a recording, in one place: what its header says of its length is held against the file."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional

import soundfile

from sld_user_dir.arrays import FloatArray
from sld_user_dir.errors import InputError, opening_remedy
from sld_user_dir.features.audio_container import CHECKED, checked_length, opened_source
from sld_user_dir.features.container_fault import RESTORE
from sld_user_dir.files import refuse_lfs_pointer

BLOCK_VALUES = 1 << 26
_OF_THE_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Too many open files, or no memory: no fault of a recording, and every other would fail alike."""


class AudioError(InputError):
    """A file that cannot be used as speech; the message names it and tells why."""

    @property
    def reason(self) -> str:
        """Problem and remedy, for a table that names the file in a column of its own."""
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem


@contextmanager
def opened_audio(path: Path) -> Iterator[tuple[soundfile.SoundFile, int]]:
    """A recording and its length in samples.

    Raises:
        AudioError: it cannot be opened or decoded, or its end is missing.
        OSError: the process can open no more files.
    """
    _check_regular(path)
    opened = False
    try:
        with opened_source(path) as source, soundfile.SoundFile(source) as handle:
            if handle.format not in CHECKED:
                problem = f"a file of the kind {handle.format}, which does not tell whether it is whole"
                raise AudioError(path, problem, "convert it to FLAC or WAV")
            length, fault = checked_length(path, int(handle.frames), handle.subtype.startswith("MPEG"))
            if fault is not None:
                raise AudioError(path, fault.problem, fault.remedy)
            opened = True
            yield handle, length
    except AudioError:
        raise
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        refuse_lfs_pointer(path, AudioError)
        what = "truncated or damaged: decoding stops" if opened else "not readable as audio"
        raise AudioError(path, f"{what} ({_reason(error)})", RESTORE) from error
    except OSError as error:
        if error.errno in _OF_THE_PROCESS:
            raise
        raise AudioError(path, error.strerror or str(error), opening_remedy(error)) from error


def sample_blocks(handle: soundfile.SoundFile, n_samples: Optional[int] = None) -> Iterator[FloatArray]:
    """Samples (n, channels) of consecutive parts.

    Args:
        n_samples: of a part; by default nearly always all, but a header may promise more than memory holds.
    """
    left, most = handle.frames, n_samples or max(1, BLOCK_VALUES // handle.channels)
    while left > 0:
        wanted = min(left, most)
        samples = handle.read(wanted, dtype="float32", always_2d=True)
        yield samples
        left -= wanted if len(samples) == wanted else left


def _check_regular(path: Path) -> None:
    """libsndfile's own words for these cases ("System error") tell a user nothing."""
    try:
        if path.is_dir():
            raise AudioError(path, "is a folder")
        if path.stat().st_size == 0:
            raise AudioError(path, "zero bytes")
    except OSError as error:
        problem = error.strerror or str(error)
        if isinstance(error, FileNotFoundError) and path.is_symlink():
            remedy = "correct the link, or fetch the file that it is to lead to"
            raise AudioError(path, f"{problem}: a link that leads nowhere", remedy) from error
        raise AudioError(path, problem, opening_remedy(error)) from error


def _reason(error: BaseException) -> str:
    return str(error).split(": ", 1)[-1].strip() or type(error).__name__
