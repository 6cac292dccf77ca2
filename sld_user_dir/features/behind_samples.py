"""What stands in a file behind the samples that its header tells of: chunks, tags and padding, or more samples."""

from __future__ import annotations

from typing import BinaryIO, Optional

from sld_user_dir.features.container_fault import ContainerFault, joined
from sld_user_dir.features.stated_samples import MAX_CHUNKS, ChunkHeaders, StatedSamples, chunks

FILES = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"caff", b".snd", b"dns.", b"NIST")
TAGS = (b"ID3", b"APETAGEX", b"LYRICSBEGIN")
FEW_BYTES = 512
"""of anything: a tag of ID3v1, padding, a length that is a header too short"""
SIGNS_IN_NAMES = b" _-.()"
BLOCK_BYTES = 1 << 16


def behind_fault(file: BinaryIO, stated: StatedSamples) -> Optional[ContainerFault]:
    """What shows that a file goes on behind its samples as none should, or None."""
    if stated.unknown or stated.missing:
        return None
    end = stated.start + stated.n_bytes
    start = end if stated.headers is None else _behind_chunks(file, stated, stated.headers)
    if start >= stated.end_of_file:
        return None
    file.seek(start)
    head = file.read(32).lstrip(b"\0")
    if head.startswith(FILES):
        return joined("audio")
    if not stated.length_at:  # NIST SPHERE: libsndfile reads to the file's end, whatever the header tells
        return None
    if head.startswith(TAGS) or stated.end_of_file - start <= FEW_BYTES or _only_zeros(file, start):
        return None
    problem = f"its header tells of {stated.n_bytes} bytes of samples, but {stated.end_of_file - end} more bytes follow"
    return ContainerFault(problem, "copy it again from its source, or mend the length in its header")


def _behind_chunks(file: BinaryIO, place: StatedSamples, headers: ChunkHeaders) -> int:
    """Where the chunks behind a chunk end, the last of which may be incomplete: what it lacks is no sound."""
    end, size = place.start, place.end_of_file
    for _ in range(MAX_CHUNKS):
        end = place.start + place.n_bytes
        padded = end + -place.n_bytes % headers.padded
        following = _chunk_at(file, padded, size, headers) or _chunk_at(file, end, size, headers)  # some do not pad
        if following is None:
            break
        place = following
    return end


def _chunk_at(file: BinaryIO, start: int, size: int, headers: ChunkHeaders) -> Optional[StatedSamples]:
    name, chunk = next(chunks(file, size, start, headers), (b"", None))
    letters = name[:4].translate(None, SIGNS_IN_NAMES)
    return chunk if letters.isalnum() and not name.startswith(FILES) else None


def _only_zeros(file: BinaryIO, start: int) -> bool:
    file.seek(start)
    return not any(block.strip(b"\0") for block in iter(lambda: file.read(BLOCK_BYTES), b""))
