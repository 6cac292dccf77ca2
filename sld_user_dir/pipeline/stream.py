"""Recordings to frames as a stream: read ahead by threads, batched by length, order kept.

At most `window_seconds` of audio (or one longer recording) and its frames are held at a time.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Iterable, Iterator, Optional, Union

from sld_user_dir.arrays import FloatArray
from sld_user_dir.errors import InputError
from sld_user_dir.features.cmvn import CmvnStats
from sld_user_dir.features.front_end import FrontEnd
from sld_user_dir.features.waveform import AudioError, load_audio, reject_reason
from sld_user_dir.manifests.audio_manifest import Recording
from sld_user_dir.manifests.rejected import Rejected

RECORDINGS_PER_LOG_LINE = 1000


@dataclass(frozen=True)
class StreamConfig:
    """How recordings are read and batched.

    Nothing here changes MFCC, and an encoder's frames only by rounding.
    """

    min_seconds: float = 0.1
    """shorter recordings are left out and named"""
    max_seconds: float = 1800.0
    """longer recordings are left out and named: all frames of one are held in memory"""
    batch_seconds: float = 60.0
    """audio that a neural encoder takes at a time, padding included"""
    window_seconds: float = 300.0
    """audio that is held at a time, to be sorted by length and batched"""
    readers: int = 4
    """threads that read ahead"""

    def __post_init__(self) -> None:
        """Raise InputError where nothing could be read."""
        if self.readers < 1:
            raise InputError(f"--readers {self.readers}", "no threads to read with", "take 1 or more")


@dataclass(frozen=True)
class Framed:
    """A recording and its frames (T, D)."""

    recording: Recording
    frames: FloatArray


@dataclass(frozen=True)
class _Loaded:
    recording: Recording
    wave: FloatArray


def stream_frames(
    recordings: Iterable[Recording],
    front_end: FrontEnd,
    config: StreamConfig,
    stats: Optional[dict[str, CmvnStats]] = None,
) -> Iterator[Union[Framed, Rejected]]:
    """Frames of each recording, or why there are none; in the order of the recordings.

    Args:
        stats: by speaker, see `speaker_stats`; wanted where the front end normalises by speaker.
    """
    for window in _windows(_load(recordings, front_end, config), front_end, config):
        loaded = [one for one in window if isinstance(one, _Loaded)]
        frames = _encode(loaded, front_end, stats)
        for one in window:
            if isinstance(one, Rejected):
                yield one
            else:
                yield Framed(one.recording, frames.pop(one.recording.id))


def speaker_stats(recordings: Iterable[Recording], front_end: FrontEnd, config: StreamConfig) -> dict[str, CmvnStats]:
    """Mean and variance of each speaker over all of these recordings: one pass over the audio."""
    stats: dict[str, CmvnStats] = {}
    for one in _load(recordings, front_end, config):
        if isinstance(one, _Loaded):
            of_speaker = stats.setdefault(one.recording.speaker, front_end.new_stats())
            front_end.add_speaker_stats(one.wave, of_speaker)
    return stats


def stream_bytes(recordings: list[Recording], front_end: FrontEnd, config: StreamConfig) -> int:
    """Upper estimate of what the stream holds at a time: audio read ahead, a window, its frames."""
    longest = max((one.seconds or config.max_seconds for one in recordings), default=0.0)
    longest = min(longest, config.max_seconds)
    window = max(config.window_seconds, longest)
    audio = (window + 2 * config.readers * longest) * front_end.sample_rate_hz * 4
    frames = 2 * window * front_end.frame_rate_hz * front_end.dim * 4
    # decoding and resampling hold a second copy of the audio
    return int(2 * audio + frames) + front_end.working_bytes()


def _load(
    recordings: Iterable[Recording], front_end: FrontEnd, config: StreamConfig
) -> Iterator[Union[_Loaded, Rejected]]:
    """Read `config.readers` recordings at a time, and no further ahead than twice that."""
    pending: deque[Future[Union[_Loaded, Rejected]]] = deque()
    with ThreadPoolExecutor(config.readers) as pool:
        for recording in recordings:
            pending.append(pool.submit(_load_one, recording, front_end, config))
            if len(pending) >= 2 * config.readers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _load_one(recording: Recording, front_end: FrontEnd, config: StreamConfig) -> Union[_Loaded, Rejected]:
    reason = _reject_reason(recording, recording.seconds, front_end, config)  # before reading it
    if reason is None:
        try:
            wave = load_audio(recording.path, front_end.sample_rate_hz, recording.speed)
        except AudioError as error:
            reason = error.problem
        else:
            seconds = len(wave) / front_end.sample_rate_hz
            reason = _reject_reason(recording, seconds, front_end, config)
    return Rejected(recording.id, recording.path, reason) if reason else _Loaded(recording, wave)


def _reject_reason(
    recording: Recording, seconds: Optional[float], front_end: FrontEnd, config: StreamConfig
) -> Optional[str]:
    if front_end.wants_speakers and not recording.speaker:
        return "no speaker, by whom its features are to be normalised"
    if seconds is None:
        return None
    reason = reject_reason(seconds, config.min_seconds, config.max_seconds)
    if reason is None and front_end.n_frames(round(seconds * front_end.sample_rate_hz)) == 0:
        reason = "too short: not one frame"
    return reason


def _windows(
    stream: Iterator[Union[_Loaded, Rejected]], front_end: FrontEnd, config: StreamConfig
) -> Iterator[list[Union[_Loaded, Rejected]]]:
    """Consecutive recordings of at most `window_seconds` together, or one longer one."""
    limit = config.window_seconds * front_end.sample_rate_hz
    window: list[Union[_Loaded, Rejected]] = []
    held = 0
    for one in stream:
        size = len(one.wave) if isinstance(one, _Loaded) else 0
        if window and held + size > limit:
            yield window
            window, held = [], 0
        window.append(one)
        held += size
    if window:
        yield window


def _encode(loaded: list[_Loaded], front_end: FrontEnd, stats: Optional[dict[str, CmvnStats]]) -> dict[str, FloatArray]:
    """Frames by recording id."""
    speakers: Optional[list[Optional[CmvnStats]]] = None
    if stats is not None:
        speakers = [stats[one.recording.speaker] for one in loaded]
    frames = front_end.encode_batch([one.wave for one in loaded], speakers)
    return {one.recording.id: f for one, f in zip(loaded, frames)}
