"""Whether an Ogg file is whole: its pages have checksums and numbers, and the last one is marked (RFC 3533).

libsndfile passes over a page that is damaged or missing, and counts the samples from there on.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import BinaryIO, Dict, Iterator, Optional

from sld_user_dir.features.container_fault import ContainerFault, joined

MAGIC = b"OggS"
HEADER_BYTES = 27
CHECKSUM_AT = 22
FIRST_PAGE_FLAG, LAST_PAGE_FLAG = 2, 4
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in reverse order"""
SEARCH_BYTES = 1 << 16


@dataclass(frozen=True)
class OggPage:
    """One page, the last of which in a file may be incomplete."""

    start: int
    content: bytes

    @property
    def whole(self) -> bool:
        """It has all the bytes that its header tells of."""
        n_segments = self.content[26] if len(self.content) >= HEADER_BYTES else 255
        segments = self.content[HEADER_BYTES : HEADER_BYTES + n_segments]
        return len(segments) == n_segments and len(self.content) == HEADER_BYTES + n_segments + sum(segments)

    @property
    def intact(self) -> bool:
        """Its checksum is right: a CRC as that of zlib, but that each byte begins with its other end, and of 0."""
        head, rest = self.content[:CHECKSUM_AT], self.content[CHECKSUM_AT + 4 :]
        mirrored = zlib.crc32((head + bytes(4) + rest).translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        stated = self.content[CHECKSUM_AT : CHECKSUM_AT + 4].translate(MIRRORED)
        return mirrored == int.from_bytes(stated, "big")

    @property
    def first(self) -> bool:
        """A stream begins with it."""
        return bool(self.content[5] & FIRST_PAGE_FLAG)

    @property
    def last(self) -> bool:
        """A stream ends with it."""
        return bool(self.content[5] & LAST_PAGE_FLAG)

    @property
    def stream(self) -> bytes:
        """The serial number of its stream."""
        return self.content[14:18]

    @property
    def number(self) -> int:
        """Its place within its stream, from 0 on."""
        return int.from_bytes(self.content[18:22], "little")


def ogg_fault(file: BinaryIO) -> Optional[ContainerFault]:
    """What is damaged, missing or too much in an Ogg file, or None."""
    page = None
    numbers: Dict[bytes, int] = {}  # of each stream's last page; streams may lie within each other
    starting = True
    for page in _pages(file):
        if not page.whole:
            return ContainerFault("truncated: it ends within a page of Ogg")
        if not page.intact:
            return ContainerFault(f"damaged: its page of Ogg at byte {page.start} does not match its checksum")
        starting = starting and page.first
        if page.first and not starting:
            return joined("Ogg")
        if page.number != numbers.get(page.stream, page.number - 1) + 1:
            return ContainerFault(f"damaged: pages of Ogg are missing at byte {page.start}")
        numbers[page.stream] = page.number
    if _page_follows(file):
        return ContainerFault(f"damaged: no page of Ogg at byte {page.start + len(page.content) if page else 0}")
    if page is None or not page.last:
        return ContainerFault("truncated: its last page of Ogg is not marked as the last")
    return None


def _pages(file: BinaryIO) -> Iterator[OggPage]:
    """The pages that follow each other without a gap; then the file stands where no page begins."""
    start = 0
    while True:
        file.seek(start)
        content = file.read(HEADER_BYTES)
        if not content.startswith(MAGIC):
            file.seek(start)
            return
        if len(content) == HEADER_BYTES:
            segments = file.read(content[26])
            content += segments + file.read(sum(segments))
        yield OggPage(start, content)
        start += len(content)


def _page_follows(file: BinaryIO) -> bool:
    """Whether there is a page behind what is none; such as a tag may stand behind the last page."""
    searched = b""
    while block := file.read(SEARCH_BYTES):
        searched = searched[-len(MAGIC) + 1 :] + block
        if MAGIC in searched:
            return True
    return False
