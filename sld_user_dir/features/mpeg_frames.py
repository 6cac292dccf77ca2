"""Whether an MP3 file is whole, by its frames.

An MP3 states its number of frames, in a first frame without sound, or not at all. Without that libsndfile guesses the
length from the bit rate of the first frame, and decodes no more than it guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Iterator, Optional, Tuple

BIT_RATES = {  # kbit/s of layer III, by MPEG version: 1; 2 and 2.5
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
SAMPLE_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
TAGS = (b"TAG", b"APETAGEX", b"LYRICS")
MAX_SEARCH = 1 << 16  # bytes passed over in search of the next frame, such as a picture's remains
SLACK_FRAMES = 2  # some writers count the frame that states the number


@dataclass(frozen=True)
class MpegFrame:
    """One frame of layer III."""

    start: int
    n_bytes: int
    n_samples: int


def mpeg_length(file: BinaryIO, size: int, n_samples: int) -> Tuple[int, Optional[str]]:
    """Samples of an MP3 file, and what is missing at its end, or None; of another file `n_samples` and None.

    Args:
        n_samples: how many libsndfile finds.
    """
    found = samples = 0
    last = stated = None
    for last in _frames(file, size):
        if found == 0 and stated is None:
            stated = _stated_frames(file, last)
            if stated is not None:
                continue
        if last.start + last.n_bytes > size:
            return n_samples, f"truncated: it ends within its frame {found + 1}"
        found += 1
        samples += last.n_samples
    if last is None:
        return n_samples, None
    if stated is not None:
        return n_samples, f"truncated: {found} of {stated} frames" if found + SLACK_FRAMES <= stated else None
    if n_samples < samples:
        problem = "an MP3 of varying bit rate without a length"
        return samples, f"{problem}, of whose {samples} samples only {n_samples} can be decoded"
    return samples, None


def _frames(file: BinaryIO, size: int) -> Iterator[MpegFrame]:
    """All frames, the last of which may be incomplete."""
    place = _after_id3(file)
    first = None
    while place + 4 <= size:
        file.seek(place)
        head = file.read(8)
        frame = _frame(head, place)
        if frame is None or (first is not None and not _same_stream(head, first)):
            if head.startswith(TAGS):
                return
            place = _next_sync(file, place + 1, first)
            if place < 0:
                return
            continue
        first = first or head
        yield frame
        place += frame.n_bytes


def _frame(head: bytes, place: int) -> Optional[MpegFrame]:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:  # layer III
        return None
    version, rate, bits = head[1] >> 3 & 3, head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or rate == 3 or not 1 <= bits <= 14:  # reserved; free format states no length
        return None
    n_samples = 1152 if version == 3 else 576
    rate_hz, bit_rate = SAMPLE_RATES_HZ[version][rate], 1000 * BIT_RATES[version == 3][bits]
    return MpegFrame(place, n_samples // 8 * bit_rate // rate_hz + (head[2] >> 1 & 1), n_samples)


def _same_stream(head: bytes, first: bytes) -> bool:
    """Version, layer and sample rate do not change within a file."""
    return head[1] & 0xFE == first[1] & 0xFE and head[2] & 0x0C == first[2] & 0x0C


def _next_sync(file: BinaryIO, place: int, first: Optional[bytes]) -> int:
    """The next place where a frame begins that another one follows, or -1."""
    file.seek(place)
    data = file.read(MAX_SEARCH)
    at = data.find(b"\xff")
    while at >= 0:
        head = data[at : at + 4]
        frame = _frame(head, at)
        if frame is not None and (first is None or _same_stream(head, first)):
            follower = data[at + frame.n_bytes : at + frame.n_bytes + 4]
            if _frame(follower, 0) is not None and _same_stream(follower, head):
                return place + at
        at = data.find(b"\xff", at + 1)
    return -1


def _after_id3(file: BinaryIO) -> int:
    """Behind the tags in front."""
    place = 0
    while True:
        file.seek(place)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3":
            return place
        footer = 10 if head[5] & 0x10 else 0
        place += 10 + footer + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0)))


def _stated_frames(file: BinaryIO, first: MpegFrame) -> Optional[int]:
    """How many frames follow a first one without sound (Xing's, which LAME and ffmpeg write); None if it has sound."""
    file.seek(first.start)
    frame = file.read(first.n_bytes)
    at = next((at for at in (36, 21, 13, 38, 23, 15) if frame[at : at + 4] in (b"Xing", b"Info")), None)
    if at is None:
        return None
    has_number = frame[at + 7 : at + 8] and frame[at + 7] & 1
    return int.from_bytes(frame[at + 8 : at + 12], "big") if has_number else 0
