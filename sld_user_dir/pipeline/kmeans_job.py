"""Audio -> k-means: a sample of frames within a memory bound, training, quality report."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Iterable, Optional

import psutil

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.lloyd import TOLERANCE, check_start
from sld_user_dir.clustering.quality import fit_report
from sld_user_dir.clustering.sample import (
    MAX_FRAMES_PER_UNIT,
    FrameSample,
    merge_file,
    plan_memory,
    save_sample,
    stable_random,
)
from sld_user_dir.clustering.unit_coverage import few_frames
from sld_user_dir.devices import check_device
from sld_user_dir.errors import InputError
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.front_end import FrontEnd, build_front_end
from sld_user_dir.features.signal_faults import FaultCounts
from sld_user_dir.files import read_lines
from sld_user_dir.manifests.audio_manifest import Recording, read_audio_manifest
from sld_user_dir.manifests.rejected import Rejected, nothing_left, read_rejected, rejected_path, write_rejected
from sld_user_dir.pipeline.shards import Job, file_sha256, shard_of
from sld_user_dir.pipeline.stage_ledgers import kmeans_ledger
from sld_user_dir.pipeline.stream import (
    RECORDINGS_PER_LOG_LINE,
    StreamConfig,
    speaker_stats,
    stream_bytes,
    stream_frames,
)

logger = logging.getLogger(__name__)

HELD_OUT_SHARE = 0.05  # of the recordings, at least one
HELD_OUT_FRAMES = 20_000
MOST_SEED = 2**31 - 2  # FAISS takes an int of C, from 1 on


@dataclass(frozen=True)
class TrainConfig:
    """How the centroids are learnt."""

    num_units: int = 500
    """K, the number of units"""
    seed: int = 0
    """decides the sample and the start"""
    start: str = "kmeans++"
    """`kmeans++`, `afk-mc2` (faster for thousands of units) or `random`"""
    max_iterations: int = 100
    """Lloyd iterations at most; it stops by itself when the fit no longer improves"""
    tolerance: float = TOLERANCE
    """stop when three iterations lower the inertia by less than this share"""
    memory_gib: float = 4.0
    """the process stays within this: the sample of frames is made as large as fits"""
    max_frames: Optional[int] = None
    """frames to learn from at most; by default 256 for each unit"""
    oversample: float = 8.0
    """frames computed for each that is sampled: recordings are drawn until there are so many"""
    device: str = "auto"
    """`cpu`, `cuda` (an error where there is none), `cuda:1` (one card), `auto` (all GPUs where there are any)"""

    def __post_init__(self) -> None:
        check_start(self.start)
        check_device(self.device)
        at_least_one = {
            "num-units": self.num_units,
            "max-iterations": self.max_iterations,
            "max-frames": self.max_frames,
        }
        for option, value in at_least_one.items():
            if value is not None and value < 1:
                raise InputError(f"--{option} {value}", "nothing can be learnt", "take at least 1")
        for option, number in (("memory-gib", self.memory_gib), ("oversample", self.oversample)):
            if not 0 < number < float("inf"):
                raise InputError(f"--{option} {number:g}", "nothing can be learnt", "take a number above 0")
        if self.seed < 0 or not self.tolerance >= 0:
            where = f"--seed {self.seed} --tolerance {self.tolerance:g}"
            raise InputError(where, "nothing can be learnt with these", "take 0 or more of each")
        if self.seed > MOST_SEED:
            raise InputError(f"--seed {self.seed}", "more than FAISS can hold", f"take {MOST_SEED} or less")

    @property
    def wanted_frames(self) -> int:
        """Frames to learn from, where the corpus and the memory hold so many."""
        return self.max_frames or MAX_FRAMES_PER_UNIT * self.num_units


@dataclass(frozen=True)
class TrainJob(Job):
    """Audio manifest -> k-means file. Shards hold samples of frames; merging them trains."""

    audio: Path
    features: FeatureConfig
    train: TrainConfig = field(default_factory=TrainConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)

    def inputs(self) -> dict[str, Any]:
        return {
            "stage": "k-means",
            "audio": file_sha256(self.audio),
            "features": self.features.to_dict(),
            "train": asdict(self.train),
            "stream": asdict(self.stream),
        }

    def write_shard(self, index: int, path: Path) -> None:
        front_end = build_front_end(self.features, self.train.device, self.stream.batch_seconds)
        recordings = read_audio_manifest(self.audio)
        held_out, train = choose_recordings(recordings, front_end, self.train)
        samples = self._empty_samples(front_end, recordings)
        rejected: list[Rejected] = []
        faults = FaultCounts()
        for name, chosen in (("held_out", held_out), ("train", train)):
            mine = list(shard_of(chosen, index, self.n_shards))
            rejected += sample_frames(mine, recordings, front_end, samples[name], self.stream, faults)
        faults.warn()
        write_rejected(rejected_path(path), rejected)  # before the shard appears
        save_sample(path, **samples)

    def merge(self, paths: list[Path]) -> None:
        front_end = build_front_end(self.features, self.train.device, self.stream.batch_seconds)
        recordings = read_audio_manifest(self.audio)
        samples = self._empty_samples(front_end, recordings)
        for path in paths:
            merge_file(path, **samples)
        self._write_rejected(paths, recordings)
        if samples["train"].seen and not samples["held_out"].seen:
            self._hold_out_another(recordings, front_end, samples)
        if not samples["held_out"].seen:
            raise nothing_left(self.audio, rejected_path(self.out))
        if not samples["train"].seen:
            what = "none is left to learn from: the recordings that can be used are held out for the quality report"
            raise nothing_left(self.audio, rejected_path(self.out), what)
        frames, held_out = samples["train"].finish()[1], samples["held_out"].finish()[1]
        config = self.train
        too_few = few_frames(len(frames), config.num_units)
        if too_few:
            logger.warning("%s", too_few)
        kmeans = KMeans.fit(
            frames,
            config.num_units,
            seed=config.seed,
            start=config.start,
            max_iterations=config.max_iterations,
            tolerance=config.tolerance,
            device=config.device,
        )
        metadata = {
            **kmeans.metadata,
            "encoder": front_end.encoder,
            "model_name": front_end.model_name,
            "features": self.features.to_dict(),
            "frame_rate_hz": front_end.frame_rate_hz,
            "quality": fit_report(kmeans, held_out, front_end.frame_rate_hz),
            "frames_seen": samples["train"].seen,
        }
        KMeans(kmeans.centroids, metadata).save(self.out)
        drawn = [one for chosen in choose_recordings(recordings, front_end, config) for one in chosen]
        kmeans_ledger(self.out, self.audio, recordings, drawn, sum(one.seen for one in samples.values()))

    def _write_rejected(self, paths: list[Path], recordings: list[Recording]) -> None:
        """One table, in the manifest's order, so that it does not depend on the shards."""
        rejected = [one for path in paths for one in read_rejected(rejected_path(path))]
        place = {one.id: i for i, one in enumerate(recordings)}
        table = rejected_path(self.out)
        write_rejected(table, sorted(rejected, key=lambda one: place[one.id]))
        if rejected:
            logger.warning("%d recordings left out, named in %s", len(rejected), table)

    def _hold_out_another(
        self, recordings: list[Recording], front_end: FrontEnd, samples: dict[str, FrameSample]
    ) -> None:
        """Move the first recording that can be used out of the sample to learn from.

        Not before the merge: what a shard holds is to depend on the manifest alone, not on files that may be mended
        before the next shard is made.
        """
        held_out, train = choose_recordings(recordings, front_end, self.train)
        unusable = {one.id for one in read_rejected(rejected_path(self.out))}
        usable = [one for one in train if one.id not in unusable]
        for path in dict.fromkeys(one.path for one in usable):
            copies = [one for one in usable if one.path == path]
            sample_frames(copies, recordings, front_end, samples["held_out"], self.stream, taken_from=samples["train"])
            if samples["held_out"].seen:
                problem = "%s: none of %d recordings held out for the report can be used: %s is held out instead"
                logger.warning(problem, self.audio, len(held_out), path)
                return

    def _empty_samples(self, front_end: FrontEnd, recordings: list[Recording]) -> dict[str, FrameSample]:
        config, dim = self.train, front_end.dim
        held_out = HELD_OUT_FRAMES * dim * 20  # float32, and float64 while it is judged
        program = psutil.Process().memory_info().rss
        streamed = stream_bytes(recordings, front_end, self.stream)
        plan = plan_memory(
            int(config.memory_gib * 2**30), dim, config.num_units, program + streamed + held_out, config.wanted_frames
        )
        logger.info("memory: %s (bound %g GiB)", plan, config.memory_gib)
        return {
            "train": FrameSample(plan.capacity, dim, config.seed),
            "held_out": FrameSample(HELD_OUT_FRAMES, dim, config.seed),
        }


def choose_recordings(
    recordings: list[Recording], front_end: FrontEnd, config: TrainConfig
) -> tuple[list[Recording], list[Recording]]:
    """Held-out recordings, and those to learn from.

    Drawn by path, so that copies of a recording at other speeds fall on the same side, until they hold `oversample`
    times the wanted frames (all, where lengths are unknown).

    Raises:
        InputError: fewer than two recordings.
    """
    draw = {one.path: stable_random(config.seed, str(one.path.name)).random() for one in recordings}
    paths = sorted(draw, key=lambda path: (draw[path], str(path)))
    if len(paths) < 2:
        raise InputError(
            "--audio",
            f"{len(paths)} recordings, but at least two files are needed: one is held out for the quality report",
            "give an audio manifest of more",
        )
    held = set(paths[: max(1, round(HELD_OUT_SHARE * len(paths)))])
    ordered = sorted(recordings, key=lambda one: (draw[one.path], one.id))
    held_out = _draw_frames(HELD_OUT_FRAMES, (o for o in ordered if o.path in held), front_end, config)
    train = _draw_frames(config.wanted_frames, (o for o in ordered if o.path not in held), front_end, config)
    return held_out, train


def _draw_frames(
    wanted: int, ordered: Iterable[Recording], front_end: FrontEnd, config: TrainConfig
) -> list[Recording]:
    chosen, n_frames = [], 0.0
    for one in ordered:
        if n_frames >= wanted * config.oversample:
            break
        chosen.append(one)
        n_frames += (one.seconds or 0.0) * front_end.frame_rate_hz
    return chosen


def sample_frames(
    recordings: list[Recording],
    corpus: list[Recording],
    front_end: FrontEnd,
    sample: FrameSample,
    stream: StreamConfig,
    faults: Optional[FaultCounts] = None,
    taken_from: Optional[FrameSample] = None,
) -> list[Rejected]:
    """Offer the frames of `recordings` to `sample`; what could not be used.

    Args:
        corpus: whose recordings give the statistics of speakers.
        faults: counts recordings whose signal has one.
        taken_from: the sample that has these frames until now.
    """
    stats = None
    if front_end.wants_speakers:
        speakers = {one.speaker for one in recordings}
        stats = speaker_stats((o for o in corpus if o.speaker in speakers), front_end, stream)
    rejected = []
    for done, one in enumerate(stream_frames(recordings, front_end, stream, stats, faults), 1):
        if isinstance(one, Rejected):
            rejected.append(one)
        else:
            sample.add(one.recording.id, one.frames)
            if taken_from is not None:
                taken_from.remove(one.recording.id, len(one.frames))
        if done % RECORDINGS_PER_LOG_LINE == 0:
            logger.info("frames of %d of %d recordings, %d seen", done, len(recordings), sample.seen)
    return rejected


def peak_memory_bytes() -> Optional[int]:
    """The most that this process has held, where /proc tells (`ru_maxrss` would survive exec)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in read_lines(status) if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
