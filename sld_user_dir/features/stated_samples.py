"""How many bytes of samples a file states in its header: WAV, RF64, W64, AIFF, 8SVX, CAF, AU, NIST SPHERE."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import BinaryIO, Iterator, Optional, Tuple

NO_LENGTH_32 = (0x7F000000, 0x7FFFF000, 0x80000000, 0xFFFFFFFF)
"""What programs write in place of 32 bits of length that they do not know: sox, espeak, arecord, ffmpeg"""
HEADERS_BYTES = 1 << 16  # these programs take headers off the number, or add them
NO_LENGTH_64 = 1 << 62
MAX_CHUNKS = 10_000  # before the samples, and behind them; real files have a handful
W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"


@dataclass(frozen=True)
class ChunkHeaders:
    """How a container writes the name and the length of a chunk."""

    layout: str
    """of name and length, as `struct` takes it"""
    padded: int = 2
    """a chunk begins at a multiple of so many bytes behind another"""

    @property
    def n_bytes(self) -> int:
        """Length of one header."""
        return struct.calcsize(self.layout)

    @property
    def length_layout(self) -> str:
        """Of the length alone."""
        return self.layout[0] + self.layout[-1]

    @property
    def counted(self) -> int:
        """Bytes of the header that the length counts as well: those of W64."""
        return self.n_bytes if self.padded == 8 else 0


@dataclass(frozen=True)
class StatedSamples:
    """The part of a file that holds its samples, as its header tells."""

    start: int
    n_bytes: int
    end_of_file: int
    length_at: int = 0
    """where in the file the length stands; 0 where it is not one number"""
    length_layout: str = "<Q"
    headers: Optional[ChunkHeaders] = None
    """of the chunks, where there are any"""

    @property
    def wide(self) -> bool:
        """The length has 64 bits."""
        return self.length_layout.endswith("Q")

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

    @property
    def length_to_the_end(self) -> bytes:
        """What is to stand in place of an unknown length: that to the file's end, or in 32 bits that it is unknown."""
        if not self.wide:
            return b"\xff" * 4
        counted = self.headers.counted if self.headers is not None else 0
        return struct.pack(self.length_layout, self.end_of_file - self.start + counted)


def stated_samples(file: BinaryIO, size: int, start: int) -> Optional[StatedSamples]:
    """Where the samples of a file are that states it: WAV, RF64, W64, AIFF, 8SVX, CAF, AU, NIST; of others None.

    Args:
        start: where the file goes on behind the tags in front of it.
    """
    file.seek(start)
    head = file.read(40)
    form = head[8:12]
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and form == b"WAVE":
        return _in_wave(file, size, start + 12, ChunkHeaders("<4sI" if head[:4] != b"RIFX" else ">4sI"))
    if head[:4] == b"FORM" and form in (b"AIFF", b"AIFC", b"8SVX", b"16SV"):
        return _named(chunks(file, size, start + 12, ChunkHeaders(">4sI")), size, b"SSND", b"BODY")
    if head[:4] == b"caff":
        return _named(chunks(file, size, start + 8, ChunkHeaders(">4sQ", padded=1)), size, b"data")
    if head[:16] == W64_RIFF:
        return _named(chunks(file, size, start + 40, ChunkHeaders("<16sQ", padded=8)), size, b"data")
    if head[:4] in (b".snd", b"dns."):
        order = ">" if head[:4] == b".snd" else "<"
        samples, n_bytes = struct.unpack(order + "II", head[4:12].ljust(8, b"\0"))
        return StatedSamples(start + samples, n_bytes, size, start + 8, order + "I")
    return _in_nist(file, size, start) if head[:8] == b"NIST_1A\n" else None


def chunks(file: BinaryIO, size: int, start: int, headers: ChunkHeaders) -> Iterator[Tuple[bytes, StatedSamples]]:
    """Name and place of each chunk of a file, from `start` on."""
    for _ in range(MAX_CHUNKS):
        if start > size:  # perhaps by more than a file can be
            return
        file.seek(start)
        read = file.read(headers.n_bytes)
        if len(read) < headers.n_bytes:
            return
        name, n_bytes = struct.unpack(headers.layout, read)
        n_bytes = max(0, n_bytes - headers.counted)
        start += headers.n_bytes
        length_at = start - struct.calcsize(headers.length_layout)
        yield name, StatedSamples(start, n_bytes, size, length_at, headers.length_layout, headers)
        start += -(-n_bytes // headers.padded) * headers.padded


def _named(places: Iterator[Tuple[bytes, StatedSamples]], size: int, *names: bytes) -> Optional[StatedSamples]:
    return next((place for name, place in places if name[:4] in names and place.start <= size), None)


def _in_wave(file: BinaryIO, size: int, start: int, headers: ChunkHeaders) -> Optional[StatedSamples]:
    large = None
    for name, place in chunks(file, size, start, headers):
        if name == b"ds64":  # RF64: the length stands here, and 0xFFFFFFFF at the samples
            file.seek(place.start + 8)
            n_bytes = int.from_bytes(file.read(8), "little")
            large = replace(place, n_bytes=n_bytes, length_at=place.start + 8, length_layout="<Q")
        if name == b"data":
            return replace(large, start=place.start) if large is not None else place
    return None


def _in_nist(file: BinaryIO, size: int, start: int) -> Optional[StatedSamples]:
    file.seek(start + 8)
    length = file.read(8).strip()
    if not length.isdigit():
        return None
    file.seek(start)
    fields = {}
    for line in file.read(min(int(length), HEADERS_BYTES)).split(b"\n"):
        words = line.split()  # a name, a type, a value, and perhaps a remark
        if len(words) >= 3 and words[1] == b"-i" and words[2].isdigit():
            fields[words[0]] = int(words[2])
        if words[:1] == [b"sample_coding"] and words[2:3] in ([b"ulaw"], [b"mu-law"], [b"alaw"]):
            fields[b"sample_n_bytes"] = 1
    n_bytes = fields.get(b"sample_count", 0) * fields.get(b"channel_count", 1) * fields.get(b"sample_n_bytes", 2)
    return StatedSamples(start + int(length), n_bytes, size)
