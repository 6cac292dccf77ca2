"""Where the samples of an audio file should end, as its container tells.

libsndfile reads a file that was cut, by a full disk or a broken download, as a shorter one, and says so in a log at
most. So the length that each container states is compared with the file here. A stream that was written to a pipe
states no length; it ends where its file ends.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Optional, Tuple, Union

from sld_user_dir.features.container_fault import ContainerFault
from sld_user_dir.features.mpeg_frames import mpeg_length
from sld_user_dir.features.ogg_pages import ogg_fault
from sld_user_dir.features.stated_samples import StatedSamples, stated_samples

CHECKED = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "NIST", "CAF", "SVX", "FLAC", "OGG", "MP3", "HTK"}
"""libsndfile's names of the containers whose end is known. It checks that of FLAC and HTK itself."""


def checked_length(path: Path, n_samples: int) -> Tuple[int, Optional[ContainerFault]]:
    """How many samples a file should hold, and what shows that it is not whole, or None.

    Args:
        n_samples: how many libsndfile finds, which of an MP3 may be a guess.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        magic = file.read(4)
        if magic == b"OggS":
            return n_samples, ogg_fault(file)
        if magic == b"fLaC":
            return n_samples, _flac_fault(file)
        stated = stated_samples(file, size)
        if stated is None:
            return mpeg_length(file, size, n_samples)
        if not stated.missing:
            return n_samples, None
        held = max(0, stated.end_of_file - stated.start)
        problem = f"truncated: its header tells of {stated.n_bytes} bytes of samples, {held} are there"
        return n_samples, ContainerFault(problem)


def _flac_fault(file: BinaryIO) -> Optional[ContainerFault]:
    file.seek(21)
    n_samples = int.from_bytes(file.read(5), "big") & (1 << 36) - 1
    if n_samples:
        return None
    return ContainerFault("a FLAC stream without a length in its header, which libsndfile cannot decode")


class _UnknownLength(FileIO):
    """A file whose header seems to tell, in the four bytes at a place, that its length is not known."""

    def __init__(self, path: Path, n_bytes_at: int) -> None:
        super().__init__(path)
        self._place = n_bytes_at

    def readinto(self, buffer: Any) -> int:
        """As of a file, but for the four bytes."""
        start = self.tell()
        n_bytes = super().readinto(buffer)
        first, end = max(0, self._place - start), min(n_bytes, self._place + 4 - start)
        if first < end:
            memoryview(buffer)[first:end] = b"\xff" * (end - first)
        return n_bytes


@contextmanager
def opened_source(path: Path) -> Iterator[Union[bytes, BinaryIO]]:
    """What libsndfile is to open: the file's name, or the file as one whose header tells that its length is not known.

    libsndfile takes a WAV or AU that states a length of 0, as one does whose program was stopped, for an empty one.
    """
    with open(path, "rb") as file:
        stated = stated_samples(file, os.fstat(file.fileno()).st_size)
        stopped = stated is not None and not stated.n_bytes and stated.n_bytes_at and _samples_follow(file, stated)
    if stated is None or not stopped:
        yield os.fsencode(path)
        return
    with _UnknownLength(path, stated.n_bytes_at) as patched:
        yield patched


def _samples_follow(file: BinaryIO, stated: StatedSamples) -> bool:
    """Whether there is more behind a length of 0, and no further chunk of a WAV, whose name is of letters."""
    file.seek(stated.start)
    following = file.read(4)
    return len(following) == 4 and not (following.isascii() and following.strip().isalpha())
