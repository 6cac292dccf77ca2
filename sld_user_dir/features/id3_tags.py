"""Tags of ID3v2 in front of a recording, which libsndfile skips in front of most containers."""

from __future__ import annotations

from typing import BinaryIO

HEADER_BYTES = 10
FOOTER_FLAG = 0x10


def id3_bytes(head: bytes) -> int:
    """Length of the tag that begins with these bytes; 0 where none does."""
    if len(head) < HEADER_BYTES or head[:3] != b"ID3":
        return 0
    footer = HEADER_BYTES if head[5] & FOOTER_FLAG else 0
    return HEADER_BYTES + footer + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0)))


def after_id3(file: BinaryIO) -> int:
    """Where a file goes on behind the tags in front of it."""
    place = 0
    while True:
        file.seek(place)
        n_bytes = id3_bytes(file.read(HEADER_BYTES))
        if not n_bytes:
            return place
        place += n_bytes
