"""Recordings to frames, or to a tokenizer's codes, as a stream: read ahead by threads, order kept.

At most `window_seconds` of audio (or one longer recording) and its frames are held at a time.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Iterable, Iterator, List, Optional, Protocol, Sequence, Union

import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import FloatArray
from sld_user_dir.errors import InputError
from sld_user_dir.features.cmvn import CmvnStats
from sld_user_dir.features.front_end import FrontEnd
from sld_user_dir.features.signal_faults import FaultCounts
from sld_user_dir.features.waveform import AudioError, check_length_limits, load_audio, reject_reason
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
        check_length_limits(self.min_seconds, self.max_seconds)
        for option, seconds in (("batch", self.batch_seconds), ("window", self.window_seconds)):
            if not 0 < seconds < float("inf"):
                raise InputError(f"--{option}-seconds {seconds:g}", "no audio at a time", "take 60 or more")
        if self.readers < 1:
            raise InputError(f"--readers {self.readers}", "no threads to read with", "take 1 or more")


class WaveEncoder(Protocol):
    """What the stream feeds: a front end, or the codes of a tokenizer."""

    sample_rate_hz: int

    @property
    def wants_speakers(self) -> bool:
        """Statistics of each speaker must be gathered before a waveform can be encoded."""

    def n_frames(self, n_samples: int) -> int:
        """Frames of a waveform of that many samples."""

    def warped(self, factor: float) -> WaveEncoder:
        """The same for a vocal tract warped by a factor; InputError where it cannot."""

    def encode_batch(
        self, waves: List[FloatArray], speakers: Optional[List[Optional[CmvnStats]]] = None
    ) -> Sequence[npt.NDArray[Any]]:
        """Frames (T, D), or codes (T,), of each waveform."""


@dataclass(frozen=True)
class LoadedWave:
    """A recording, or a part of one, as a waveform (n_samples,) at the encoder's rate."""

    recording: Recording
    wave: FloatArray


@dataclass(frozen=True)
class Framed:
    """A recording and its frames (T, D), or codes (T,)."""

    recording: Recording
    frames: npt.NDArray[Any]
    n_samples: int
    """of its waveform, at the encoder's rate"""


def stream_frames(
    recordings: Iterable[Recording],
    encoder: WaveEncoder,
    config: StreamConfig,
    stats: Optional[dict[str, CmvnStats]] = None,
    faults: Optional[FaultCounts] = None,
) -> Iterator[Union[Framed, Rejected]]:
    """Frames of each recording, or why there are none; in the order of the recordings.

    Args:
        stats: by speaker, see `speaker_stats`; wanted where the front end normalises by speaker.
        faults: counts recordings whose signal has one.
    """
    return frames_of_waves(load_waves(recordings, encoder, config, faults), encoder, config, stats)


def frames_of_waves(
    stream: Iterable[Union[LoadedWave, Rejected]],
    encoder: WaveEncoder,
    config: StreamConfig,
    stats: Optional[dict[str, CmvnStats]] = None,
) -> Iterator[Union[Framed, Rejected]]:
    """Frames of waveforms that are in memory already; what is rejected goes through."""
    for window in _windows(stream, encoder, config):
        loaded = [one for one in window if isinstance(one, LoadedWave)]
        frames = iter(_encode(loaded, encoder, stats))
        for one in window:
            yield one if isinstance(one, Rejected) else Framed(one.recording, next(frames), len(one.wave))


def speaker_stats(recordings: Iterable[Recording], front_end: FrontEnd, config: StreamConfig) -> dict[str, CmvnStats]:
    """Mean and variance of each speaker over all of these recordings: one pass over the audio."""
    stats: dict[str, CmvnStats] = {}
    for one in load_waves(recordings, front_end, config):
        if isinstance(one, LoadedWave):
            add_stats(stats, one, front_end)
    return stats


def add_stats(stats: dict[str, CmvnStats], loaded: LoadedWave, front_end: FrontEnd) -> None:
    """Take a waveform into the statistics of its speaker."""
    of_speaker = stats.setdefault(loaded.recording.speaker, front_end.new_stats())
    front_end.warped(loaded.recording.warp).add_speaker_stats(loaded.wave, of_speaker)


def stream_bytes(recordings: list[Recording], front_end: FrontEnd, config: StreamConfig) -> int:
    """Upper estimate of what the stream holds at a time: audio read ahead, a window, its frames."""
    longest = max((one.seconds or config.max_seconds for one in recordings), default=0.0)
    longest = min(longest, config.max_seconds)
    window = max(config.window_seconds, longest)
    audio = (window + 2 * config.readers * longest) * front_end.sample_rate_hz * 4
    frames = 2 * window * front_end.frame_rate_hz * front_end.encoded_dim * 4
    # decoding and resampling hold a second copy of the audio
    return int(2 * audio + frames) + front_end.working_bytes()


def load_waves(
    recordings: Iterable[Recording], encoder: WaveEncoder, config: StreamConfig, faults: Optional[FaultCounts] = None
) -> Iterator[Union[LoadedWave, Rejected]]:
    """Waveform of each recording, or why it cannot be used, in their order.

    Read `config.readers` recordings at a time, and no further ahead than twice that.
    """
    pending: deque[Future[Union[LoadedWave, Rejected]]] = deque()
    with ThreadPoolExecutor(config.readers) as pool:
        for recording in recordings:
            encoder.warped(recording.warp)  # refuses before anything is read
            pending.append(pool.submit(_load_one, recording, encoder, config, faults))
            if len(pending) >= 2 * config.readers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _load_one(
    recording: Recording, encoder: WaveEncoder, config: StreamConfig, faults: Optional[FaultCounts]
) -> Union[LoadedWave, Rejected]:
    reason = _reject_reason(recording, recording.seconds, encoder, config)  # before reading it
    if reason is None:
        try:
            rate_hz = encoder.sample_rate_hz
            wave = load_audio(
                recording.path, rate_hz, recording.speed, recording.n_samples, faults, recording.sample_rate
            )
        except AudioError as error:
            reason = error.reason
        else:
            seconds = len(wave) / encoder.sample_rate_hz
            reason = _reject_reason(recording, seconds, encoder, config)
    return Rejected(recording.id, recording.path, reason) if reason else LoadedWave(recording, wave)


def _reject_reason(
    recording: Recording, seconds: Optional[float], encoder: WaveEncoder, config: StreamConfig
) -> Optional[str]:
    if encoder.wants_speakers and not recording.speaker:
        return "no speaker, by whom its features are to be normalised"
    if seconds is None:
        return None
    reason = reject_reason(seconds, config.min_seconds, config.max_seconds)
    if reason is None and encoder.n_frames(round(seconds * encoder.sample_rate_hz)) == 0:
        reason = "too short: not one frame"
    return reason


def _windows(
    stream: Iterable[Union[LoadedWave, Rejected]], encoder: WaveEncoder, config: StreamConfig
) -> Iterator[list[Union[LoadedWave, Rejected]]]:
    """Consecutive recordings of at most `window_seconds` together, or one longer one."""
    limit = config.window_seconds * encoder.sample_rate_hz
    window: list[Union[LoadedWave, Rejected]] = []
    held = 0
    for one in stream:
        size = len(one.wave) if isinstance(one, LoadedWave) else 0
        if window and held + size > limit:
            yield window
            window, held = [], 0
        window.append(one)
        held += size
    if window:
        yield window


def _encode(
    loaded: list[LoadedWave], encoder: WaveEncoder, stats: Optional[dict[str, CmvnStats]]
) -> Sequence[npt.NDArray[Any]]:
    """Frames of each; those of one warp go to the encoder together."""
    frames: list[npt.NDArray[Any]] = [np.zeros(0)] * len(loaded)
    for warp in sorted({one.recording.warp for one in loaded}):
        places = [place for place, one in enumerate(loaded) if one.recording.warp == warp]
        speakers: Optional[list[Optional[CmvnStats]]] = None
        if stats is not None:
            speakers = [stats[loaded[place].recording.speaker] for place in places]
        found = encoder.warped(warp).encode_batch([loaded[place].wave for place in places], speakers)
        for place, of_one in zip(places, found):
            frames[place] = of_one
    return frames
