"""What makes units of recordings: features and a k-means, or a tokenizer that brings its own codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Union

import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import FloatArray, UnitArray
from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.unit_sequences import assign_joined, feature_config_of, provenance
from sld_user_dir.features.cmvn import CmvnStats
from sld_user_dir.features.front_end import FrontEnd, build_front_end
from sld_user_dir.features.signal_faults import FaultCounts
from sld_user_dir.manifests.audio_manifest import Recording
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.rejected import Rejected
from sld_user_dir.pipeline.stream import (
    Framed,
    LoadedWave,
    StreamConfig,
    WaveEncoder,
    add_stats,
    frames_of_waves,
    load_waves,
    speaker_stats,
)
from sld_user_dir.speech_tokenizers.speech_tokenizer import (
    SpeechTokenizer,
    TokenizerError,
    checked_codes,
    provenance_of,
)
from sld_user_dir.speech_tokenizers.tokenizer_lookup import load_tokenizer


class UnitsOfRecording(NamedTuple):
    """A recording and its units (T,), before de-duplication."""

    recording: Recording
    units: UnitArray


class UnitMaker(ABC):
    """Recordings to units, as a stream in which order is kept."""

    encoder: WaveEncoder

    @abstractmethod
    def provenance(self, deduplicated: bool = False) -> UnitProvenance:
        """What a manifest says of its units."""

    @abstractmethod
    def _units(self, stream: Iterator[Framed]) -> Iterator[UnitsOfRecording]:
        """Units of frames, or codes, in their order."""

    def _stats(self, recordings: Iterable[Recording], config: StreamConfig) -> Optional[dict[str, CmvnStats]]:
        """Of speakers, where the features need them."""
        return None

    def stream(
        self,
        recordings: Iterable[Recording],
        config: StreamConfig,
        rejected: List[Rejected],
        corpus: Iterable[Recording] = (),
    ) -> Iterator[UnitsOfRecording]:
        """Units of each recording that can be used; the others are appended to `rejected`.

        Args:
            corpus: whose recordings give the statistics of speakers, where the features need them.
        """
        faults = FaultCounts()
        waves = load_waves(recordings, self.encoder, config, faults)
        yield from self._of_frames(waves, config, rejected, self._stats(corpus, config))
        faults.warn()

    def of_waves(self, waves: Sequence[LoadedWave], config: StreamConfig) -> List[UnitArray]:
        """Units of each waveform; those of one speaker give the speaker's statistics."""
        found = self._of_frames(waves, config, [], self._stats_of_waves(waves))
        return [one.units for one in found]

    def _stats_of_waves(self, waves: Sequence[LoadedWave]) -> Optional[dict[str, CmvnStats]]:
        return None

    def _of_frames(
        self,
        waves: Iterable[Union[LoadedWave, Rejected]],
        config: StreamConfig,
        rejected: List[Rejected],
        stats: Optional[dict[str, CmvnStats]],
    ) -> Iterator[UnitsOfRecording]:
        return self._units(_keep(frames_of_waves(waves, self.encoder, config, stats), rejected))


def _keep(stream: Iterable[Union[Framed, Rejected]], rejected: List[Rejected]) -> Iterator[Framed]:
    for one in stream:
        if isinstance(one, Rejected):
            rejected.append(one)
        else:
            yield one


class KMeansUnits(UnitMaker):
    """The nearest centroid of each frame.

    Raises:
        KMeansError: the centroids belong to other features.
    """

    def __init__(self, front_end: FrontEnd, kmeans: KMeans) -> None:
        self.encoder, self._front_end, self._kmeans = front_end, front_end, kmeans
        provenance(front_end, kmeans)

    @classmethod
    def of_file(
        cls, path: Path, features: Optional[str] = None, device: str = "auto", batch_seconds: float = 60.0
    ) -> KMeansUnits:
        """By a k-means file, which tells its features.

        Args:
            features: where the encoder lies now, if not where it lay when the k-means was trained.

        Raises:
            InputError: no k-means file, no such encoder, or other features than the file's.
        """
        kmeans = KMeans.load(path)
        return cls(build_front_end(feature_config_of(kmeans, features), device, batch_seconds), kmeans)

    def provenance(self, deduplicated: bool = False) -> UnitProvenance:
        """Features and centroids."""
        return provenance(self._front_end, self._kmeans, deduplicated)

    def _stats(self, recordings: Iterable[Recording], config: StreamConfig) -> Optional[dict[str, CmvnStats]]:
        return speaker_stats(recordings, self._front_end, config) if self._front_end.wants_speakers else None

    def _stats_of_waves(self, waves: Sequence[LoadedWave]) -> Optional[dict[str, CmvnStats]]:
        if not self._front_end.wants_speakers:
            return None
        stats: dict[str, CmvnStats] = {}
        for one in waves:
            add_stats(stats, one, self._front_end)
        return stats

    def _units(self, stream: Iterator[Framed]) -> Iterator[UnitsOfRecording]:
        waiting: List[Recording] = []  # whose units are still in the block being filled

        def frames() -> Iterator[FloatArray]:
            for one in stream:
                waiting.append(one.recording)
                yield one.frames

        for units in assign_joined(self._kmeans, frames(), on_gpu=self._front_end.on_gpu):
            yield UnitsOfRecording(waiting.pop(0), units)


class _CodeEncoder:
    """A tokenizer where the stream wants an encoder; recordings of like length go to it together."""

    wants_speakers = False

    def __init__(self, tokenizer: SpeechTokenizer, batch_seconds: float) -> None:
        self.tokenizer, self.batch_seconds = tokenizer, batch_seconds
        self.sample_rate_hz = int(tokenizer.sample_rate_hz)

    def n_frames(self, n_samples: int) -> int:
        return self.tokenizer.n_codes(n_samples)

    def warped(self, factor: float) -> _CodeEncoder:
        if factor != 1:
            problem = f"cannot warp the vocal tract of a recording (by {factor:g})"
            raise TokenizerError(self.tokenizer.name, problem, "list the recordings without --warps")
        return self

    def encode_batch(
        self, waves: List[FloatArray], speakers: Optional[List[Optional[CmvnStats]]] = None
    ) -> Sequence[npt.NDArray[Any]]:
        codes: List[Any] = [None] * len(waves)
        order = sorted(range(len(waves)), key=lambda i: -len(waves[i]))
        while order:
            longest = max(1, len(waves[order[0]]))
            size = max(1, int(self.batch_seconds * self.sample_rate_hz) // longest)
            batch, order = order[:size], order[size:]
            found = self.tokenizer.encode_batch([waves[i] for i in batch])
            if len(found) != len(batch):
                problem = f"its encode_batch gave codes of {len(found)} waveforms for {len(batch)}"
                raise TokenizerError(self.tokenizer.name, problem, "return one array for each, in their order")
            for i, of_one in zip(batch, found):
                codes[i] = np.asarray(of_one)
        return codes


class TokenizerUnits(UnitMaker):
    """The codes of a tokenizer, checked."""

    def __init__(self, tokenizer: SpeechTokenizer, batch_seconds: float = 60.0) -> None:
        self.tokenizer = tokenizer
        self.encoder = _CodeEncoder(tokenizer, batch_seconds)

    @classmethod
    def named(cls, description: str, device: str = "auto", batch_seconds: float = 60.0) -> TokenizerUnits:
        """By what a user writes after `--tokenizer`.

        Raises:
            TokenizerError: no such tokenizer, or none that can be used.
        """
        return cls(load_tokenizer(description, device), batch_seconds)

    def provenance(self, deduplicated: bool = False) -> UnitProvenance:
        """Name and fingerprint of the tokenizer."""
        return provenance_of(self.tokenizer, deduplicated)

    def _units(self, stream: Iterator[Framed]) -> Iterator[UnitsOfRecording]:
        for one in stream:
            codes = checked_codes(self.tokenizer, one.frames, one.n_samples, one.recording.path)
            yield UnitsOfRecording(one.recording, codes)
