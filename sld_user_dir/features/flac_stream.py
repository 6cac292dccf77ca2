"""Whether a FLAC file states its length, and nothing follows that (RFC 9639).

libsndfile tests the checksums of the frames, and that there are enough. It stops where the header says.
"""

from __future__ import annotations

import re
from typing import BinaryIO, Iterator, Optional

from sld_user_dir.features.container_fault import ContainerFault, joined

STREAM_INFO = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")
"""What every FLAC begins with: the magic, and the header of a block of 34 bytes, which may be the last one"""
LAST_BLOCK_FLAG = 0x80
FIXED_SYNC = b"\xff\xf8"
"""What a frame begins with, where all frames but the last have as many samples"""
NUMBER_AT = 4  # in a frame
LONGEST_HEADER = 16
MAX_NUMBER = 0x10FFFF  # of a frame, as UTF-8
SEARCH_BYTES = 1 << 20


def flac_fault(file: BinaryIO, start: int) -> Optional[ContainerFault]:
    """What is missing or too much in a FLAC file that begins at a place, or None."""
    file.seek(start + 8)
    info = file.read(34)
    n_samples = int.from_bytes(info[13:18], "big") & (1 << 36) - 1
    if not n_samples:
        return ContainerFault("a FLAC stream without a length in its header, which libsndfile cannot decode")
    frames = _frames_start(file, start)
    file.seek(frames)
    first = file.read(4)
    block = int.from_bytes(info[2:4], "big") if info[:2] == info[2:4] and first[:2] == FIXED_SYNC else 0
    for content in _blocks(file, frames):
        if any(begin in content for begin in STREAM_INFO):
            return joined("FLAC")
        if block and _goes_on(content, first, block, n_samples):
            problem = f"its header tells of {n_samples} samples, but there are more frames"
            return ContainerFault(problem, "copy it again from its source, or write it anew by flac -d and flac")
    return None


def _frames_start(file: BinaryIO, start: int) -> int:
    """Behind the blocks of metadata, which may hold anything."""
    start += 4
    while True:
        file.seek(start)
        head = file.read(4)
        start += 4 + int.from_bytes(head[1:], "big")
        if len(head) < 4 or head[0] & LAST_BLOCK_FLAG:
            return start


def _blocks(file: BinaryIO, start: int) -> Iterator[bytes]:
    """The rest of a file in parts, each with the end of the one before, so that none cuts what is searched."""
    file.seek(start)
    content = b""
    while block := file.read(SEARCH_BYTES):
        content = content[-LONGEST_HEADER + 1 :] + block
        yield content


def _goes_on(content: bytes, first: bytes, block: int, n_samples: int) -> bool:
    """Whether a frame begins here that holds a sample behind the last one, as its number and its length tell."""
    last = (n_samples - 1) // block
    numbers = {n: chr(n).encode("utf-8", "surrogatepass") for n in (last, last + 1) if n <= MAX_NUMBER}
    for at in (match.start() for match in re.finditer(FIXED_SYNC, content)):
        for number, coded in numbers.items():
            if content.startswith(coded, at + NUMBER_AT):
                held = _frame_samples(content[at : at + LONGEST_HEADER], len(coded), first)
                if held and number * block + held > n_samples:
                    return True
    return False


def _frame_samples(head: bytes, number_bytes: int, first: bytes) -> int:
    """How many samples a frame holds; 0 if this is no header, or tells of another rate or sample size."""
    rate = head[2] & 0x0F
    if rate != first[2] & 0x0F or head[3] & 0x0F != first[3] & 0x0F:
        return 0
    code, at = head[2] >> 4, NUMBER_AT + number_bytes
    stated_bytes = code - 5 if code in (6, 7) else 0
    end = at + stated_bytes + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if len(head) <= end or _crc8(head[: end + 1]):
        return 0
    if stated_bytes:
        return int.from_bytes(head[at : at + stated_bytes], "big") + 1
    return 192 if code == 1 else 576 << (code - 2) if code < 6 else 256 << (code - 8)


def _crc8(content: bytes) -> int:
    """A checksum that is 0 with itself appended; its polynomial is x^8 + x^2 + x + 1."""
    value = 0
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value << 1 & 0xFF ^ (0x07 if value & 0x80 else 0)
    return value
