"""How many bytes of samples a file states in its header: WAV, RF64, W64, AIFF, 8SVX, CAF, AU, NIST SPHERE."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, Iterator, Optional, Tuple

NO_LENGTH_32 = (0x7F000000, 0x7FFFF000, 0x80000000, 0xFFFFFFFF)
"""What programs write in place of 32 bits of length that they do not know: sox, espeak, arecord, ffmpeg"""
HEADERS_BYTES = 1 << 16  # these programs take headers off the number, or add them
NO_LENGTH_64 = 1 << 62
MAX_CHUNKS = 10_000  # before the samples; real files have a handful
W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"


@dataclass(frozen=True)
class StatedSamples:
    """The part of a file that holds its samples, as its header tells."""

    start: int
    n_bytes: int
    n_bytes_at: int
    """where in the file `n_bytes` stands"""
    end_of_file: int
    wide: bool = False
    """the length has 64 bits"""

    @property
    def unknown(self) -> bool:
        """The header was written before the length was known."""
        if self.n_bytes == 0 or self.wide:
            return self.n_bytes == 0 or self.n_bytes >= NO_LENGTH_64
        return any(abs(self.n_bytes - value) <= HEADERS_BYTES for value in NO_LENGTH_32)

    @property
    def missing(self) -> int:
        """Bytes that the file lacks."""
        return 0 if self.unknown else max(0, self.start + self.n_bytes - self.end_of_file)


def stated_samples(file: BinaryIO, size: int) -> Optional[StatedSamples]:
    """Where the samples of a file are that states it: WAV, RF64, W64, AIFF, 8SVX, CAF, AU, NIST; of others None."""
    file.seek(0)
    head = file.read(40)
    form = head[8:12]
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and form == b"WAVE":
        return _in_wave(file, size, "<" if head[:4] != b"RIFX" else ">")
    if head[:4] == b"FORM" and form in (b"AIFF", b"AIFC", b"8SVX", b"16SV"):
        return _named(_chunks(file, size, 12, ">4sI"), size, b"SSND", b"BODY")
    if head[:4] == b"caff":
        return _named(_chunks(file, size, 8, ">4sQ", padded=1), size, b"data")
    if head[:16] == W64_RIFF:
        return _named(_chunks(file, size, 40, "<16sQ", padded=8), size, b"data")
    if head[:4] == b".snd":
        start, n_bytes = struct.unpack(">II", head[4:12].ljust(8, b"\0"))
        return StatedSamples(start, n_bytes, 8, size)
    return _in_nist(file, size) if head[:8] == b"NIST_1A\n" else None


def _chunks(
    file: BinaryIO, size: int, start: int, header: str, padded: int = 2
) -> Iterator[Tuple[bytes, StatedSamples]]:
    """Name and place of each chunk of a file, from `start` on."""
    length, wide = struct.calcsize(header), header.endswith("Q")
    for _ in range(MAX_CHUNKS):
        if start > size:  # perhaps by more than a file can be
            return
        file.seek(start)
        read = file.read(length)
        if len(read) < length:
            return
        name, n_bytes = struct.unpack(header, read)
        if padded == 8:  # W64 counts the chunk's header as well
            n_bytes = max(0, n_bytes - length)
        yield name, StatedSamples(start + length, n_bytes, start + length - (8 if wide else 4), size, wide)
        start += length + -(-n_bytes // padded) * padded


def _named(chunks: Iterator[Tuple[bytes, StatedSamples]], size: int, *names: bytes) -> Optional[StatedSamples]:
    return next((place for name, place in chunks if name[:4] in names and place.start <= size), None)


def _in_wave(file: BinaryIO, size: int, order: str) -> Optional[StatedSamples]:
    large = None
    for name, place in _chunks(file, size, 12, order + "4sI"):
        if name == b"ds64":  # RF64: the length stands here, and 0xFFFFFFFF at the samples
            file.seek(place.start + 8)
            large = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
        if name == b"data":
            if large is not None and place.n_bytes == 0xFFFFFFFF:
                return StatedSamples(place.start, large, place.n_bytes_at, size, wide=True)
            return place
    return None


def _in_nist(file: BinaryIO, size: int) -> Optional[StatedSamples]:
    file.seek(8)
    length = file.read(8).strip()
    if not length.isdigit():
        return None
    file.seek(0)
    fields = {}
    for line in file.read(min(int(length), HEADERS_BYTES)).split(b"\n"):
        words = line.split()
        if len(words) == 3 and words[1] == b"-i" and words[2].isdigit():
            fields[words[0]] = int(words[2])
        if words[:1] == [b"sample_coding"] and words[-1] in (b"ulaw", b"mu-law", b"alaw"):
            fields[b"sample_n_bytes"] = 1
    n_bytes = fields.get(b"sample_count", 0) * fields.get(b"channel_count", 1) * fields.get(b"sample_n_bytes", 2)
    return StatedSamples(int(length), n_bytes, 0, size, wide=True)
