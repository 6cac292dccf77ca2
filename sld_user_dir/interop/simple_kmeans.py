"""HuBERT's dumped features, `{split}_{rank}_{nshard}.npy` and `.len`, to units by a k-means file of ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator, Optional

import numpy as np

from sld_user_dir.arrays import ARRAY_FILE_ERRORS, FloatArray
from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.unit_sequences import assign_joined
from sld_user_dir.files import iter_lines, refuse_lfs_pointer, whole_number
from sld_user_dir.interop.records import InteropError, UnitFile, UnitRecord, numbered_lines
from sld_user_dir.manifests.audio_manifest import read_audio_manifest

NAME = re.compile(r"(.+)_(\d{1,6})_(\d{1,6})")


def read_features(path: Path, kmeans_path: Optional[str]) -> UnitFile:
    """All shards of a split, in the order of their ranks, parallel to `{split}.tsv` beside them.

    Args:
        path: any one of the shards.
        kmeans_path: k-means file (.npz); sld export-kmeans imports scikit-learn's.

    Raises:
        InteropError: a shard is missing, or shards, lengths and manifest disagree.
    """
    if not kmeans_path or not kmeans_path.endswith(".npz"):
        raise InteropError(
            path, "frames, not units", "name the k-means file that makes units of them by --kmeans FILE.npz"
        )
    parts = NAME.fullmatch(path.stem)
    if parts is None:
        raise InteropError(path, "not named SPLIT_RANK_SHARDS.npy", "rename it as simple_kmeans does")
    split, n_shards = parts[1], int(parts[3])
    shards = [path.with_name(f"{split}_{rank}_{n_shards}.npy") for rank in range(n_shards)]
    lengths = [_lengths(shard) for shard in shards]
    tsv = path.with_name(f"{split}.tsv")
    if not tsv.exists():
        raise InteropError(path, f"no {tsv.name} beside, which names the recordings", "put fairseq's manifest there")
    recordings = read_audio_manifest(tsv, 16_000)
    n = sum(map(len, lengths))
    if n != len(recordings):
        raise InteropError(
            shards[0].with_suffix(".len"),
            f"{n} lengths in all, but {tsv} lists {len(recordings)}",
            "make them parallel",
        )
    kmeans = KMeans.load(kmeans_path)
    frames = (f for shard, of in zip(shards, lengths) for f in _utterances(shard, of, kmeans))
    where = (f"{shard.with_suffix('.len')}:{i}" for shard, of in zip(shards, lengths) for i in range(1, len(of) + 1))
    records = []
    for r, place, units in zip(recordings, where, assign_joined(kmeans, frames)):
        fields: dict[str, Any] = {"path": str(r.path), "n_samples": str(r.n_samples or "")}
        records.append(UnitRecord(r.id, units, None, r.text if r.text.strip() else None, fields, place))
    return UnitFile(records, kmeans.num_units, False, {"audio_root": next(iter_lines(tsv))})


def _lengths(shard: Path) -> list[int]:
    """Frames of each recording of a shard."""
    lengths = []
    for where, line in numbered_lines(shard.with_suffix(".len")):
        length = whole_number(line)
        if not length:
            raise InteropError(where, f"{line[:20]!r} is no number of frames", "dump the features again")
        lengths.append(length)
    return lengths


def _utterances(shard: Path, lengths: list[int], kmeans: KMeans) -> Iterator[FloatArray]:
    try:
        frames = np.load(shard, mmap_mode="r", allow_pickle=False)
    except ARRAY_FILE_ERRORS as error:
        refuse_lfs_pointer(shard, InteropError)
        raise InteropError(shard, f"no array of frames ({error})", "dump the features again") from None
    if frames.ndim != 2 or frames.shape[1] != kmeans.dim:
        raise InteropError(
            shard,
            f"frames of shape {frames.shape}, the k-means takes {kmeans.dim} dimensions",
            "name the k-means of these features",
        )
    if len(frames) != sum(lengths):
        raise InteropError(
            shard,
            f"{len(frames)} frames, but {shard.with_suffix('.len')} adds up to {sum(lengths)}",
            "dump the features again",
        )
    for end, length in zip(np.cumsum(lengths).tolist(), lengths):
        yield np.asarray(frames[end - length : end], dtype=np.float32)
