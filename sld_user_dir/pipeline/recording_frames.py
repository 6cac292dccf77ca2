"""Frames of recordings when they are asked for: from the recording, or from a cache of bounded size."""

from __future__ import annotations

from collections import OrderedDict
from typing import List, Optional, Sequence

import numpy as np

from sld_user_dir.arrays import FloatArray
from sld_user_dir.features.cmvn import CmvnStats
from sld_user_dir.features.front_end import FrontEnd
from sld_user_dir.features.waveform import load_audio
from sld_user_dir.manifests.audio_manifest import Recording
from sld_user_dir.pipeline.stream import StreamConfig, speaker_stats

MIB = 2**20


class RecordingFrames(Sequence[FloatArray]):
    """Frames float32, (T, D) or (T, L, D), of each recording; the last ones that were used stay in memory.

    A copy of the cache is kept by each process that loads data.

    Args:
        recordings: by index.
        front_end: makes the frames.
        cache_mib: size of the cache; 0 for none.
        each_layer: of `--layers`, each for itself instead of their sum.
    """

    def __init__(
        self, recordings: List[Recording], front_end: FrontEnd, cache_mib: float = 0.0, each_layer: bool = False
    ):
        self.recordings, self._front_end = recordings, front_end
        self._each_layer = each_layer
        self._room = int(cache_mib * MIB)
        self._cache: OrderedDict[int, FloatArray] = OrderedDict()
        self._stats: Optional[dict[str, CmvnStats]] = None
        if front_end.wants_speakers:
            self._stats = speaker_stats(recordings, front_end, StreamConfig())
        self.computed = 0
        """how often frames were made, not found"""

    def __len__(self) -> int:
        return len(self.recordings)

    def n_frames(self, found: FloatArray) -> int:
        """Frames of what `[]` gave."""
        return len(found)

    def __getitem__(self, index: int) -> FloatArray:  # type: ignore[override]  # of one recording at a time
        found = self._cache.pop(index, None)
        if found is None:
            found = self._compute(self.recordings[index])
            self._room -= found.nbytes
        self._cache[index] = found
        while self._room < 0:
            self._room += self._cache.popitem(last=False)[1].nbytes
        return found

    @property
    def cached_bytes(self) -> int:
        """Of frames that are in memory."""
        return sum(frames.nbytes for frames in self._cache.values())

    def _compute(self, recording: Recording) -> FloatArray:
        self.computed += 1
        wave = self._wave(recording)
        stats = None if self._stats is None else self._stats.get(recording.speaker)
        front_end = self._front_end.warped(recording.warp)
        frames = front_end.layer_frames(wave, stats) if self._each_layer else front_end(wave, stats)
        return np.ascontiguousarray(frames, dtype=np.float32)

    def _wave(self, one: Recording) -> FloatArray:
        rate_hz = self._front_end.sample_rate_hz
        return load_audio(one.path, rate_hz, one.speed, one.n_samples, stated_rate_hz=one.sample_rate)


class RecordingWaves(RecordingFrames):
    """Waveforms (n_samples,) in place of frames, for an encoder that is trained."""

    def n_frames(self, wave: FloatArray) -> int:
        """Frames that a waveform will have."""
        return self._front_end.n_frames(len(wave))

    def _compute(self, recording: Recording) -> FloatArray:
        self.computed += 1
        self._front_end.warped(recording.warp)  # which refuses what an encoder cannot
        return self._wave(recording)
