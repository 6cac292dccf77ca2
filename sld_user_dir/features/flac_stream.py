"""Whether a FLAC file states its length and is alone in its file; libsndfile tests the checksums of its frames."""

from __future__ import annotations

from typing import BinaryIO, Optional

from sld_user_dir.features.container_fault import ContainerFault, joined

MAGIC = b"fLaC"
STREAM_INFO = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")
"""What every FLAC begins with: the magic, and the header of a block of 34 bytes, which may be the last one"""
LAST_BLOCK_FLAG = 0x80
BLOCK_BYTES = 1 << 20


def flac_fault(file: BinaryIO, start: int) -> Optional[ContainerFault]:
    """What is missing or too much in a FLAC file that begins at a place, or None."""
    file.seek(start + 21)
    if not int.from_bytes(file.read(5), "big") & (1 << 36) - 1:
        return ContainerFault("a FLAC stream without a length in its header, which libsndfile cannot decode")
    return joined("FLAC") if _another_follows(file, _frames_start(file, start)) else None


def _frames_start(file: BinaryIO, start: int) -> int:
    """Behind the blocks of metadata, which may hold anything."""
    start += len(MAGIC)
    while True:
        file.seek(start)
        head = file.read(4)
        start += 4 + int.from_bytes(head[1:], "big")
        if len(head) < 4 or head[0] & LAST_BLOCK_FLAG:
            return start


def _another_follows(file: BinaryIO, start: int) -> bool:
    file.seek(start)
    searched = b""
    while block := file.read(BLOCK_BYTES):
        searched = searched[-len(STREAM_INFO[0]) + 1 :] + block
        if any(begin in searched for begin in STREAM_INFO):
            return True
    return False
