"""Frames to unit sequences: assignment in joined blocks, de-duplication, provenance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Iterable, Iterator, Optional

import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import FloatArray, UnitArray
from sld_user_dir.clustering.assign import Assigner, CpuAssigner, TorchAssigner
from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.kmeans_file import KMeansError
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, check_options, source_of
from sld_user_dir.features.front_end import FrontEnd
from sld_user_dir.manifests.provenance import UnitProvenance

BLOCK_FRAMES = 8192  # enough for efficient matrix products, little enough to hold


def assign_joined(
    kmeans: KMeans, utterances: Iterable[FloatArray], block_frames: int = BLOCK_FRAMES, on_gpu: bool = False
) -> Iterator[UnitArray]:
    """Units of each utterance's frames (T, D), about `block_frames` of them at a time.

    Assignment is a matrix product; short utterances, one by one, would each make a small one.
    """
    assign: Assigner = (TorchAssigner if on_gpu else CpuAssigner)(kmeans.centroids)
    block: list[FloatArray] = []
    n_frames = 0
    for frames in utterances:
        block.append(frames)
        n_frames += len(frames)
        if n_frames >= block_frames:
            yield from assign(block)
            block, n_frames = [], 0
    if block:
        yield from assign(block)


def deduplicate(units: UnitArray) -> tuple[UnitArray, npt.NDArray[np.int64]]:
    """Collapse runs: `5 5 5 2 2 5` -> units `5 2 5`, durations `3 2 1` (their sum is T)."""
    if len(units) == 0:
        return units, np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.concatenate([[True], units[1:] != units[:-1]]))
    return units[starts], np.diff(np.append(starts, len(units))).astype(np.int64)


def expand(units: UnitArray, durations: npt.NDArray[np.int64]) -> UnitArray:
    """The inverse of `deduplicate`."""
    return np.repeat(units, durations)


def provenance(front_end: FrontEnd, kmeans: KMeans, deduplicated: bool = False) -> UnitProvenance:
    """What made the units of this front end and these centroids.

    Raises:
        KMeansError: the centroids were trained on other features.
    """
    trained_on = kmeans.metadata.get("encoder")
    if trained_on not in (None, front_end.encoder) or kmeans.dim != front_end.dim:
        raise KMeansError(
            kmeans.path,
            f"the k-means was trained on {trained_on} ({kmeans.dim} dimensions), the features are {front_end.encoder} "
            f"({front_end.dim})",
            "take the encoder that the k-means was trained on",
        )
    return UnitProvenance(
        encoder=front_end.encoder,
        layer=front_end.layer,
        frame_rate_hz=front_end.frame_rate_hz,
        kmeans=kmeans.sha256,
        num_units=kmeans.num_units,
        deduplicated=deduplicated,
    )


def feature_config_of(kmeans: KMeans, features: Optional[str] = None, option: str = "--features") -> FeatureConfig:
    """The features that a k-means file was trained on.

    Args:
        features: where the encoder lies now, if not where it lay at training.
        option: where the user says so.

    Raises:
        KMeansError: the file does not tell (imported centroids).
        EncoderError: `features` is no encoder of the kind that the k-means was trained on.
    """
    stored = kmeans.metadata.get("features")
    if not stored:
        raise KMeansError(kmeans.path, "the k-means file does not tell its features", "state them by options")
    config = FeatureConfig(**stored)
    return config if not features else _with_encoder_at(features, config, kmeans, option)


def _with_encoder_at(features: str, config: FeatureConfig, kmeans: KMeans, option: str) -> FeatureConfig:
    source, moved = source_of(features), replace(config, features=features)
    try:
        check_options(source, moved)
    except EncoderError as error:  # which speaks of options that the k-means file has chosen
        trained_on = (
            f"{kmeans.metadata.get('encoder', config.features)}, which the k-means {kmeans.path} was trained on"
        )
        known = Path(features).exists() or not source.takes_the_rest
        problem = f"{'another kind of encoder than' if known else 'no file or directory, and no name of'} {trained_on}"
        remedy = "name its directory, checkpoint or hub name" if config.layer_numbers else f"leave {option} out"
        raise EncoderError(f"{option} {features}", problem, remedy) from error
    return moved
