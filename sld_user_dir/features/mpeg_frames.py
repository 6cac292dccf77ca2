"""Whether an MP3 file is whole, by its frames.

An MP3 states its number of frames, in a first frame without sound, or not at all. Without that libsndfile guesses the
length from the bit rate of the first frame, and decodes no more than it guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import BinaryIO, Iterator, Optional, Tuple

from sld_user_dir.features.container_fault import SEPARATE, ContainerFault
from sld_user_dir.features.id3_tags import id3_bytes

BIT_RATES = {  # kbit/s of layer III, by MPEG version: 1; 2 and 2.5
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
SAMPLE_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
MAX_SEARCH = 1 << 16  # bytes passed over in search of the first frame, such as a picture's remains
LONGEST_FRAME = 1441
SLACK_FRAMES = 2  # some writers count the frame that states the number


@dataclass(frozen=True)
class MpegFrame:
    """One frame of layer III."""

    start: int
    n_bytes: int
    n_samples: int
    passed_over: int = 0
    """bytes before it, of all behind the first frame, that are neither a frame nor a tag"""


@dataclass(frozen=True)
class StatedFrames:
    """What the first frame tells of those behind it."""

    number: int
    """0 where it tells none"""
    n_left_out: int
    """samples at start and end that are the encoder's, and not decoded"""


def mpeg_length(file: BinaryIO, size: int, n_samples: int) -> Tuple[int, Optional[ContainerFault]]:
    """Samples of an MP3 file, and what is missing in it, or None; of one of another layer `n_samples` and None.

    Args:
        n_samples: how many libsndfile finds.
    """
    found = samples = 0
    last = stated = None
    for last in _frames(file, size):
        if last.passed_over:
            problem = f"damaged: {last.passed_over} bytes before byte {last.start} are no frame of MP3"
            return n_samples, ContainerFault(problem)
        if found == 0 and stated is None:
            stated = _stated_frames(file, last)
            if stated is not None:
                continue
        if last.start + last.n_bytes > size:
            return n_samples, ContainerFault(f"truncated: it ends within its frame {found + 1}")
        found += 1
        samples += last.n_samples
    if last is None:
        return n_samples, None
    if stated is not None:
        return n_samples, _stated_fault(found, samples, stated, n_samples)
    if n_samples < samples:
        problem = "an MP3 of varying bit rate without a length"
        return samples, ContainerFault(f"{problem}, of whose {samples} samples only {n_samples} can be decoded")
    return samples, None


def _stated_fault(found: int, samples: int, stated: StatedFrames, n_samples: int) -> Optional[ContainerFault]:
    """What the number of frames shows; libsndfile decodes no more of them than the first one states."""
    if found + SLACK_FRAMES <= stated.number:
        return ContainerFault(f"truncated: {found} of {stated.number} frames")
    if stated.number and stated.number + SLACK_FRAMES <= found:
        problem = f"{found} frames, of which only {stated.number} can be read, since its first one tells of so many"
        return ContainerFault(f"{problem}: perhaps several files one behind the other", SEPARATE)
    if n_samples + stated.n_left_out + SLACK_FRAMES * samples // max(1, found) < samples:
        problem = f"of its {samples - stated.n_left_out} samples only {n_samples} can be decoded"
        return ContainerFault(
            f"damaged: {problem}, since its first frame is not read as the one that tells their number"
        )
    return None


def _frames(file: BinaryIO, size: int) -> Iterator[MpegFrame]:
    """All frames, the last of which may be incomplete."""
    place = passed_over = 0
    first = None
    while place + 4 <= size:
        file.seek(place)
        head = file.read(16)
        tag = _tag_bytes(head)
        if tag:
            place += tag
            continue
        frame = _frame(head, place)
        if frame is None or (first is not None and not _same_stream(head, first) and not _followed(file, frame, head)):
            following = _next_sync(file, place + 1, size, first)
            if following < 0:
                return
            passed_over += following - place if first is not None else 0
            place = following
            continue
        first = head  # behind one file's frames there may be those of another
        yield replace(frame, passed_over=passed_over)
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
    """Whether version, layer and sample rate are the same, as within a file."""
    return head[1] & 0xFE == first[1] & 0xFE and head[2] & 0x0C == first[2] & 0x0C


def _followed(file: BinaryIO, frame: MpegFrame, head: bytes) -> bool:
    """Whether another frame of the same kind begins where this one ends."""
    file.seek(frame.start + frame.n_bytes)
    follower = file.read(4)
    return _frame(follower, 0) is not None and _same_stream(follower, head)


def _next_sync(file: BinaryIO, start: int, size: int, first: Optional[bytes]) -> int:
    """The next place where a frame begins that another one, or the end of the file, follows, or -1."""
    for block in range(start, size if first is not None else start + 1, MAX_SEARCH):
        file.seek(block)
        data = file.read(MAX_SEARCH + LONGEST_FRAME + 4)
        at = data.find(b"\xff", 0, MAX_SEARCH)
        while at >= 0:
            head = data[at : at + 4]
            frame = _frame(head, block + at)
            if frame is not None and (first is None or _same_stream(head, first)):
                follower = data[at + frame.n_bytes : at + frame.n_bytes + 4]
                if _frame(follower, 0) is not None and _same_stream(follower, head):
                    return frame.start
                if first is not None and frame.start + frame.n_bytes == size:
                    return frame.start
            at = data.find(b"\xff", at + 1, MAX_SEARCH)
    return -1


def _tag_bytes(head: bytes) -> int:
    """Length of the tag that begins here (ID3v2, ID3v1 and its extension, APEv2); 0 where none does."""
    if head.startswith(b"APETAGEX"):
        return 32 + int.from_bytes(head[12:16], "little")
    if head.startswith(b"TAG"):
        return 227 if head.startswith(b"TAG+") else 128
    return id3_bytes(head)


def _stated_frames(file: BinaryIO, first: MpegFrame) -> Optional[StatedFrames]:
    """What a first frame without sound tells (Xing's, which LAME and ffmpeg write); None if it has sound."""
    file.seek(first.start)
    frame = file.read(first.n_bytes)
    at = next((at for at in (36, 21, 13, 38, 23, 15) if frame[at : at + 4] in (b"Xing", b"Info")), None)
    if at is None:
        return None
    flags = int.from_bytes(frame[at + 7 : at + 8], "big")
    number = int.from_bytes(frame[at + 8 : at + 12], "big") if flags & 1 else 0
    lame = at + 8 + sum(n_bytes for bit, n_bytes in enumerate((4, 4, 100, 4)) if flags >> bit & 1)
    delays = int.from_bytes(frame[lame + 21 : lame + 24], "big")
    return StatedFrames(number, (delays >> 12) + (delays & 0xFFF))
