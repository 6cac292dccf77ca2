"""Audio -> unit manifest, directly: features exist only in memory, a window at a time."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Iterator, Optional

import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import PathLike
from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.unit_coverage import unused_units
from sld_user_dir.clustering.unit_sequences import deduplicate
from sld_user_dir.features.front_end import FrontEnd
from sld_user_dir.files import atomic_path
from sld_user_dir.manifests.audio_manifest import Recording
from sld_user_dir.manifests.rejected import Rejected, rejected_path, write_rejected
from sld_user_dir.manifests.unit_manifest import Utterance, write_manifest
from sld_user_dir.pipeline.stream import RECORDINGS_PER_LOG_LINE, StreamConfig
from sld_user_dir.pipeline.unit_makers import KMeansUnits, UnitMaker, UnitsOfRecording

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExtractionCounts:
    """What became of the recordings."""

    written: int
    rejected: int


def extract_units(
    recordings: list[Recording],
    front_end: FrontEnd,
    kmeans: KMeans,
    out: PathLike,
    *,
    deduplicated: bool = False,
    header: Optional[dict[str, object]] = None,
    stream: Optional[StreamConfig] = None,
    all_recordings: Optional[list[Recording]] = None,
) -> ExtractionCounts:
    """`write_units` of a front end and a k-means.

    Raises:
        KMeansError: the centroids belong to other features.
    """
    return write_units(
        recordings,
        KMeansUnits(front_end, kmeans),
        out,
        deduplicated=deduplicated,
        header=header,
        stream=stream,
        all_recordings=all_recordings,
    )


def write_units(
    recordings: list[Recording],
    maker: UnitMaker,
    out: PathLike,
    *,
    deduplicated: bool = False,
    header: Optional[dict[str, object]] = None,
    stream: Optional[StreamConfig] = None,
    all_recordings: Optional[list[Recording]] = None,
    part_of: Optional[PathLike] = None,
) -> ExtractionCounts:
    """Write the unit manifest `out`, and `out` with `.rejected.tsv` naming what is missing in it.

    Args:
        header: further header lines of the manifest (license, attribution, ...).
        all_recordings: the corpus that these are a part of, for the statistics of speakers.
        part_of: the file that `out` will be merged into, which the log names: `out` is gone then. Units that are never
            used are said where there is none.

    Raises:
        TokenizerError: a tokenizer gave something else than its codes for a recording.
    """
    out, stream = Path(out), stream or StreamConfig()
    speakers = {one.speaker for one in recordings}
    corpus = all_recordings if all_recordings is not None else recordings
    rejected: list[Rejected] = []
    transcribed = _with_text(recordings, rejected)
    made = maker.stream(transcribed, stream, rejected, (r for r in corpus if r.speaker in speakers))
    made_by = maker.provenance(deduplicated)
    counts = np.zeros(made_by.num_units, np.int64)
    utterances = (_utterance(one, deduplicated) for one in _counted(made, counts))
    with atomic_path(out) as aside:
        written = write_manifest(aside, _progress(utterances, len(recordings)), made_by, header)
        place = {one.id: i for i, one in enumerate(recordings)}
        rejected.sort(key=lambda one: place[one.id])
        write_rejected(rejected_path(out), rejected)  # before the manifest appears
    whole = Path(part_of or out)
    unused = unused_units(counts) if part_of is None else None  # a part tells nothing of the whole
    if unused:
        logger.warning("%s: %s", whole, unused)
    if rejected:
        table = rejected_path(whole)
        logger.warning("%d of %d recordings left out, named in %s", len(rejected), len(recordings), table)
    return ExtractionCounts(written, len(rejected))


def _with_text(recordings: Iterable[Recording], rejected: list[Rejected]) -> Iterator[Recording]:
    """A unit manifest holds transcribed speech only."""
    for one in recordings:
        if one.text.strip():
            yield one
        else:
            rejected.append(Rejected(one.id, one.path, "no transcript"))


def _counted(made: Iterator[UnitsOfRecording], counts: npt.NDArray[np.int64]) -> Iterator[UnitsOfRecording]:
    """As they come; `counts` gets how often each unit occurs."""
    for one in made:
        counts += np.bincount(one.units, minlength=len(counts))
        yield one


def _utterance(made: UnitsOfRecording, deduplicated: bool) -> Utterance:
    recording, units = made
    durations = None
    if deduplicated:
        units, durations = deduplicate(units)
    fields = {"speaker": recording.speaker, "n_samples": str(recording.n_samples or "")}
    fields.update(recording.fields)
    return Utterance(recording.id, units, recording.text, durations, fields)


def _progress(utterances: Iterator[Utterance], total: int) -> Iterator[Utterance]:
    for done, one in enumerate(utterances, 1):
        if done % RECORDINGS_PER_LOG_LINE == 0:
            logger.info("%d of %d recordings have units", done, total)
        yield one
