"""Whether an Ogg file is whole: its last page says so (RFC 3533)."""

from __future__ import annotations

from typing import BinaryIO, Optional

PAGE = b"OggS"
HEADER_BYTES = 27
LONGEST_PAGE = HEADER_BYTES + 255 + 255 * 255
LAST_PAGE_FLAG = 4


def ogg_problem(file: BinaryIO, size: int) -> Optional[str]:
    """What is missing at the end of an Ogg file, or None."""
    start = max(0, size - 2 * LONGEST_PAGE)  # whatever is cut, a whole page is in there
    file.seek(start)
    tail = file.read()
    page = tail.rfind(PAGE)
    head = tail[page : page + HEADER_BYTES]
    if page < 0 or len(head) < HEADER_BYTES:
        return "truncated: it ends within a page of Ogg"
    segments = tail[page + HEADER_BYTES : page + HEADER_BYTES + head[26]]
    if len(segments) < head[26] or page + HEADER_BYTES + head[26] + sum(segments) > len(tail):
        return "truncated: it ends within a page of Ogg"
    if not head[5] & LAST_PAGE_FLAG:
        return "truncated: its last page of Ogg is not marked as the last"
    return None
