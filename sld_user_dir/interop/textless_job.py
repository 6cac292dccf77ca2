"""Audio manifest → unit manifest by a textless-lib encoder: a stream, in shards."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Iterable, Iterator

from sld_user_dir.features.signal_faults import FaultCounts
from sld_user_dir.features.waveform import AudioError, check_length_limits, load_audio, reject_reason
from sld_user_dir.files import atomic_path
from sld_user_dir.interop.textless import EncoderSpec, SpeechEncoderLike, encode
from sld_user_dir.manifests.audio_manifest import Recording, read_audio_manifest
from sld_user_dir.manifests.rejected import Rejected, nothing_left, rejected_path, write_rejected
from sld_user_dir.manifests.unit_manifest import Utterance, write_manifest
from sld_user_dir.pipeline.shards import Job, file_sha256, join_tables, shard_of

logger = logging.getLogger(__name__)
RECORDINGS_PER_PROGRESS_LINE = 1000


@dataclass(frozen=True)
class EncodeJob(Job):
    """One recording is held at a time; what cannot be used is named in `OUT.rejected.tsv`."""

    audio: Path
    encoder: EncoderSpec
    min_seconds: float = 0.1
    max_seconds: float = 1800.0
    header: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_length_limits(self.min_seconds, self.max_seconds)

    def inputs(self) -> dict[str, Any]:
        return {
            "stage": "textless",
            "audio": file_sha256(self.audio),
            "encoder": asdict(self.encoder),
            "limits": [self.min_seconds, self.max_seconds],
            "header": self.header,
            "kmeans": file_sha256(self.encoder.own_kmeans) if self.encoder.own_kmeans else None,
        }

    def recordings_used(self) -> list[Path]:
        return [one.path for one in read_audio_manifest(self.audio)]

    def write_shard(self, index: int, path: Path) -> None:
        encoder, made_by = self.encoder.build()
        recordings = shard_of(read_audio_manifest(self.audio), index, self.n_shards)
        rejected: list[Rejected] = []
        with atomic_path(path) as aside:  # the shard appears when all of it is there
            write_manifest(aside, self._utterances(encoder, recordings, rejected), made_by, self.header)
            write_rejected(rejected_path(path), rejected)

    def merge(self, paths: list[Path]) -> None:
        left_out = rejected_path(self.out)
        join_tables([rejected_path(path) for path in paths], left_out)
        join_tables(paths, self.out, lambda: nothing_left(self.audio, left_out))

    def _utterances(
        self, encoder: SpeechEncoderLike, recordings: Iterable[Recording], rejected: list[Rejected]
    ) -> Iterator[Utterance]:
        faults = FaultCounts()
        for done, one in enumerate(recordings, 1):
            try:
                yield self._utterance(encoder, one, faults)
            except AudioError as error:
                rejected.append(Rejected(one.id, one.path, error.reason))
                logger.warning("%s: left out: %s", one.path, rejected[-1].reason)
            if done % RECORDINGS_PER_PROGRESS_LINE == 0:
                logger.info("%d recordings have units", done - len(rejected))
        faults.warn()

    def _utterance(self, encoder: SpeechEncoderLike, one: Recording, faults: FaultCounts) -> Utterance:
        if not one.text.strip():
            raise AudioError(None, "no transcript")
        if one.warp != 1:
            raise AudioError(None, "to be warped (--warps), which only this package's MFCC can")
        rate_hz = encoder.expected_sample_rate
        wave = load_audio(one.path, rate_hz, one.speed, one.n_samples, faults, one.sample_rate)
        reason = reject_reason(len(wave) / rate_hz, self.min_seconds, self.max_seconds)
        if reason:
            raise AudioError(None, reason)
        made = encode(encoder, wave)
        if not len(made.units):
            raise AudioError(None, "too short: not one unit")
        fields = {"speaker": one.speaker, "n_samples": str(one.n_samples or ""), **one.fields}
        return Utterance(one.id, made.units, one.text, made.durations if encoder.deduplicate else None, fields)
