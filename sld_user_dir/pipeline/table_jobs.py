"""The stages as sharded jobs: check recordings, extract units. They pickle small: paths, not data."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Optional

from sld_user_dir.clustering.unit_coverage import unused_units
from sld_user_dir.errors import InputError
from sld_user_dir.files import parse_json, printable, unwritable
from sld_user_dir.manifests.audio_manifest import read_audio_manifest, write_audio_manifest
from sld_user_dir.manifests.header import header_lines
from sld_user_dir.manifests.manifest_counts import frames_of_units
from sld_user_dir.manifests.rejected import nothing_left, rejected_path, write_rejected
from sld_user_dir.pipeline.audio_scan import UsableAudio, check
from sld_user_dir.pipeline.extraction import write_units
from sld_user_dir.pipeline.shards import Job, file_sha256, join_tables, shard_of
from sld_user_dir.pipeline.stream import StreamConfig
from sld_user_dir.pipeline.unit_makers import KMeansUnits, TokenizerUnits, UnitMaker

logger = logging.getLogger(__name__)


class _TableJob(Job):
    """Shards and output are tables, each with a table of what was left out."""

    def merge(self, paths: list[Path]) -> None:
        left_out = rejected_path(self.out)
        join_tables([*self._left_out_before(), *map(rejected_path, paths)], left_out)
        join_tables(paths, self.out, lambda: nothing_left(self.source, left_out))

    @property
    def source(self) -> Path:
        """What the recordings come from, for errors."""
        raise NotImplementedError

    def _left_out_before(self) -> list[Path]:
        """Tables of what was left out before this stage."""
        return []


@dataclass(frozen=True)
class CheckJob(_TableJob):
    """Draft audio manifest -> manifest of the usable recordings, with lengths and rates."""

    draft: Path
    """a table of recordings that are left out already can lie beside it, at `rejected_path(draft)`"""
    root: Path
    limits: UsableAudio = field(default_factory=UsableAudio)
    workers: int = 4

    @property
    def source(self) -> Path:
        return self.root

    def inputs(self) -> dict[str, Any]:
        return {
            "stage": "check",
            "draft": file_sha256(self.draft),
            "root": str(self.root),
            "limits": asdict(self.limits),
            "left_out": [file_sha256(path) for path in self._left_out_before()],
        }

    def recordings_used(self) -> list[Path]:
        return [one.path for one in read_audio_manifest(self.out)]

    def _left_out_before(self) -> list[Path]:
        return [path for path in [rejected_path(self.draft)] if path.exists()]

    def write_shard(self, index: int, path: Path) -> None:
        recordings = read_audio_manifest(self.draft)
        mine = list(shard_of(recordings, index, self.n_shards))
        good, bad = check(mine, self.limits, self.workers)
        write_rejected(rejected_path(path), bad)
        columns = sorted({name for one in recordings for name in one.fields})
        write_audio_manifest(path, good, self.root, columns)


@dataclass(frozen=True)
class ExtractJob(_TableJob):
    """Audio manifest, and a k-means or a tokenizer, -> unit manifest."""

    audio: Path
    kmeans: Optional[Path] = None
    features: Optional[str] = None
    """where the encoder lies now, if not where it lay when the k-means was trained"""
    device: str = "auto"
    deduplicated: bool = False
    header: dict[str, Any] = field(default_factory=dict)
    stream: StreamConfig = field(default_factory=StreamConfig)
    tokenizer: Optional[str] = None
    """in place of a k-means; see `sld_user_dir.speech_tokenizers.tokenizer_lookup`"""

    def __post_init__(self) -> None:
        if (self.kmeans is None) == (self.tokenizer is None):
            problem = "units are made by a k-means or by a tokenizer"
            raise InputError(None, problem, "give either --kmeans or --tokenizer")
        if self.tokenizer is not None and self.features is not None:
            raise InputError(f"--features {self.features}", "a tokenizer needs no features", "leave --features out")

    @property
    def source(self) -> Path:
        return self.audio

    def inputs(self) -> dict[str, Any]:
        """With a tokenizer's fingerprint, for which it is loaded, on the CPU."""
        if self.tokenizer is None:
            assert self.kmeans is not None
            made_by: dict[str, Any] = {"kmeans": file_sha256(self.kmeans), "features": self.features}
        else:
            made_by = {"tokenizer": asdict(TokenizerUnits.named(self.tokenizer, "cpu").provenance())}
        return {
            "stage": "extract",
            "audio": file_sha256(self.audio),
            **made_by,
            "deduplicated": self.deduplicated,
            "header": self.header,
            "stream": asdict(self.stream),
        }

    def recordings_used(self) -> list[Path]:
        return [one.path for one in read_audio_manifest(self.audio)]

    def write_shard(self, index: int, path: Path) -> None:
        recordings = read_audio_manifest(self.audio)
        write_units(
            list(shard_of(recordings, index, self.n_shards)),
            self._maker(),
            path,
            deduplicated=self.deduplicated,
            header={**({"tokenizer": self.tokenizer} if self.tokenizer else {}), **self.header},
            stream=self.stream,
            all_recordings=recordings,
            part_of=self.out,
        )

    def merge(self, paths: list[Path]) -> None:
        super().merge(paths)
        unused = unused_units(frames_of_units(self.out))
        if unused:
            logger.warning("%s: %s", self.out, unused)

    def _maker(self) -> UnitMaker:
        if self.tokenizer is not None:
            return TokenizerUnits.named(self.tokenizer, self.device, self.stream.batch_seconds)
        assert self.kmeans is not None
        return KMeansUnits.of_file(self.kmeans, self.features, self.device, self.stream.batch_seconds)


def parse_header(items: list[str]) -> dict[str, Any]:
    """Options `license=CC BY-SA 4.0` to header entries; a value that is JSON is taken as JSON.

    Raises:
        InputError: an option without a key or an equals sign, or one that no line of a header can hold.
    """
    header: dict[str, Any] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise InputError(f"--header {item}", "not KEY=VALUE", "write it like license=CC0")
        try:
            header[key] = parse_json(value)
        except ValueError:
            header[key] = value
        problem = unwritable(header_lines({key: header[key]})[0])
        if problem is not None:
            raise InputError(f"--header {printable(item)}", problem, "write it in UTF-8, on one line")
    return header
