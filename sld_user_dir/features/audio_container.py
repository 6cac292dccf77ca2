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

from sld_user_dir.features.behind_samples import behind_fault
from sld_user_dir.features.container_fault import ContainerFault
from sld_user_dir.features.flac_stream import flac_fault
from sld_user_dir.features.id3_tags import after_id3
from sld_user_dir.features.mpeg_frames import mpeg_length
from sld_user_dir.features.ogg_pages import ogg_fault
from sld_user_dir.features.stated_samples import StatedSamples, stated_samples

CHECKED = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "NIST", "CAF", "SVX", "FLAC", "OGG", "MP3", "HTK"}
"""libsndfile's names of the containers whose end is known. It checks that of FLAC and HTK itself."""


def checked_length(path: Path, n_samples: int, mpeg: bool) -> Tuple[int, Optional[ContainerFault]]:
    """How many samples a file should hold, and what shows that it is not whole, or None.

    Args:
        n_samples: how many libsndfile finds, which of an MP3 may be a guess.
        mpeg: it is an MP3, perhaps within a WAV.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = after_id3(file)
        file.seek(start)
        magic = file.read(4)
        if magic == b"OggS":
            return n_samples, ogg_fault(file)
        if magic == b"fLaC":
            return n_samples, flac_fault(file, start)
        stated = stated_samples(file, size, start)
        fault = _stated_fault(file, stated) if stated is not None else None
        return mpeg_length(file, size, n_samples) if mpeg and fault is None else (n_samples, fault)


def _stated_fault(file: BinaryIO, stated: StatedSamples) -> Optional[ContainerFault]:
    if not stated.missing:
        return behind_fault(file, stated)
    held = max(0, stated.end_of_file - stated.start)
    return ContainerFault(f"truncated: its header tells of {stated.n_bytes} bytes of samples, {held} are there")


class _ClearedFile(FileIO):
    """A file as it would be without the tag in front of it, and with the length that it states for its samples."""

    def __init__(self, path: Path, start: int, length_at: int, length: bytes) -> None:
        super().__init__(path)
        self._start, self._place, self._length = start, length_at, length
        self.seek(0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file that begins behind the tag."""
        return super().seek(offset + self._start if whence == os.SEEK_SET else offset, whence) - self._start

    def tell(self) -> int:
        """As of a file that begins behind the tag."""
        return super().tell() - self._start

    def readinto(self, buffer: Any) -> int:
        """As of a file, but for the length."""
        start = self.tell() + self._start
        n_bytes = super().readinto(buffer)
        first, end = max(0, self._place - start), min(n_bytes, self._place + len(self._length) - start)
        if first < end:
            known = self._length[start + first - self._place : start + end - self._place]
            memoryview(buffer)[first:end] = known
        return n_bytes


@contextmanager
def opened_source(path: Path) -> Iterator[Union[bytes, BinaryIO]]:
    """What libsndfile is to open: the file's name, or the file without a tag in front, and with a length.

    libsndfile takes a WAV or AU that states a length of 0, as one does whose program was stopped, for an empty one, and
    opens no CAF or RF64 of unknown length. Behind a tag it counts samples that are not there.
    """
    with open(path, "rb") as file:
        start = after_id3(file)
        stated = stated_samples(file, os.fstat(file.fileno()).st_size, start)
        patched = stated is not None and _misread(stated) and _samples_follow(file, stated)
    if stated is None or not (patched or start):
        yield os.fsencode(path)
        return
    length = stated.length_to_the_end if patched else b""
    with _ClearedFile(path, start, stated.length_at, length) as cleared:
        yield cleared


def _misread(stated: StatedSamples) -> bool:
    """Whether libsndfile takes an unknown length for a known one; it knows those of 32 bits but for 0."""
    return stated.unknown and stated.length_at > 0 and (stated.wide or not stated.n_bytes)


def _samples_follow(file: BinaryIO, stated: StatedSamples) -> bool:
    """Whether there is more behind a length of 0, and no further chunk of a WAV, whose name is of letters."""
    file.seek(stated.start)
    following = file.read(4)
    if stated.n_bytes:
        return bool(following)
    return len(following) == 4 and not (following.isascii() and following.strip().isalpha())
