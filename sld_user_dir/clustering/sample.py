"""A uniform sample of the frames of a corpus, within a fixed memory, from a stream.

Each frame draws a random key from its recording's id; the `capacity` smallest keys are kept.
So the sample depends neither on the order of the recordings nor on how they are sharded, and
the samples of shards merge into the sample of the whole (bottom-k sampling, Cohen & Kaplan 2007).
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from typing import Iterator

import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import ARRAY_FILE_ERRORS, FloatArray, PathLike
from sld_user_dir.clustering.unit_coverage import FEWEST_FRAMES_PER_UNIT
from sld_user_dir.errors import InputError, reason_of
from sld_user_dir.files import atomic_path

BUFFERS_PER_CAPACITY = 8  # a buffer of 1/8 of the capacity gathers newcomers between two evictions
BYTES_PER_FRAME = 32  # beside its values: key, nearest centroid, distance, and what k-means++ holds
COLUMNS_AT_A_TIME = 16
COARSE_START_FRAMES_PER_UNIT = 100  # generous: KMeans.fit starts on a copy of up to 36 for each unit, and has centroids
SEARCH_BYTES = 64 << 20  # 4096 x 1024 distances and the queries' block, each thread's
MAX_FRAMES_PER_UNIT = 256  # more hardly moves the centroids; it is faiss's default too


def stable_random(seed: int, name: str) -> np.random.Generator:
    """A generator that depends on `seed` and `name` alone, on any machine."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


class FrameSample:
    """The frames with the `capacity` smallest keys of all that were added."""

    def __init__(self, capacity: int, dim: int, seed: int) -> None:
        if capacity < 1:
            raise ValueError(f"a sample holds at least 1 frame, not {capacity}")
        self.capacity, self.dim, self.seed = capacity, dim, seed
        rows = capacity + max(capacity // BUFFERS_PER_CAPACITY, 1)
        self._keys = np.empty(rows, dtype=np.float64)
        self._frames = np.empty((rows, dim), dtype=np.float32)  # pages are touched as they fill
        self._n = 0
        self._threshold = np.inf
        self.seen = 0

    def add(self, name: str, frames: FloatArray) -> None:
        """Offer the frames (T, dim) of the recording `name`, each of which may come once."""
        self.seen += len(frames)
        self._add(stable_random(self.seed, name).random(len(frames)), frames)

    def merge(self, keys: npt.NDArray[np.float64], frames: FloatArray) -> None:
        """Take in frames with the keys that another shard drew for them, with the same seed."""
        self._add(keys, frames)

    def remove(self, name: str, n_frames: int) -> None:
        """Take out the frames of the recording `name`, once all that is wanted was added or merged."""
        self._evict()
        keys = stable_random(self.seed, name).random(n_frames)
        keep = ~np.isin(self._keys[: self._n], keys)
        self._keep_only(keep, int(keep.sum()))
        self.seen -= n_frames

    def finish(self) -> tuple[npt.NDArray[np.float64], FloatArray]:
        """Keys, ascending, and frames (n, dim) in their order: views, not copies."""
        self._evict()
        keys, frames = self._keys[: self._n], self._frames[: self._n]
        order = np.argsort(keys, kind="stable")
        keys[:] = keys[order]
        for start in range(0, self.dim, COLUMNS_AT_A_TIME):  # a whole copy would double the memory
            columns = slice(start, start + COLUMNS_AT_A_TIME)
            frames[:, columns] = frames[order, columns]
        return keys, frames

    def _add(self, keys: npt.NDArray[np.float64], frames: FloatArray) -> None:
        wanted = np.flatnonzero(keys < self._threshold)
        while len(wanted):
            room = len(self._keys) - self._n
            now, wanted = wanted[:room], wanted[room:]
            self._keys[self._n : self._n + len(now)] = keys[now]
            self._frames[self._n : self._n + len(now)] = frames[now]
            self._n += len(now)
            if self._n == len(self._keys):
                self._evict()

    def _evict(self) -> None:
        """Keep the smallest keys."""
        if self._n <= self.capacity:
            return
        keys = self._keys[: self._n]
        self._threshold = float(np.partition(keys, self.capacity - 1)[self.capacity - 1])
        self._keep_only(keys <= self._threshold, self.capacity)

    def _keep_only(self, keep: npt.NDArray[np.bool_], count: int) -> None:
        """Keep `count` of the frames that `keep` marks, moving those behind into the places of the others."""
        holes = np.flatnonzero(~keep[:count])
        movers = count + np.flatnonzero(keep[count:])[: len(holes)]
        self._keys[holes] = self._keys[movers]
        self._frames[holes] = self._frames[movers]
        self._n = count


def save_sample(path: PathLike, **samples: FrameSample) -> None:
    """Write samples by name to a plain .npz, atomically."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for name, sample in samples.items():
        keys, frames = sample.finish()
        arrays.update({f"{name}_keys": keys, f"{name}_frames": frames, f"{name}_seen": np.array(sample.seen)})
    with atomic_path(path) as aside, open(aside, "wb") as handle:
        np.savez(handle, **arrays)  # type: ignore[arg-type]


def merge_file(path: PathLike, **samples: FrameSample) -> None:
    """Add what `save_sample` wrote to samples of the same names, a block of rows at a time.

    Raises:
        InputError: a damaged file.
    """
    try:
        _merge(path, samples)
    except ARRAY_FILE_ERRORS as error:
        problem = f"a damaged sample of frames ({reason_of(error)})"
        raise InputError(path, problem, "remove it and run again: it is made anew") from error


def _merge(path: PathLike, samples: dict[str, FrameSample]) -> None:
    with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as small, zipfile.ZipFile(path) as archive:
        for name, sample in samples.items():
            keys, start = small[f"{name}_keys"], 0
            for frames in _stored_rows(archive, f"{name}_frames.npy"):
                sample.merge(keys[start : start + len(frames)], frames)
                start += len(frames)
            sample.seen += int(small[f"{name}_seen"])


def _stored_rows(archive: zipfile.ZipFile, member: str, rows: int = 4096) -> Iterator[FloatArray]:
    """Blocks of rows of a matrix within an .npz: np.load would hold it whole."""
    with archive.open(member) as handle:
        np.lib.format.read_magic(handle)
        (n, dim), _, dtype = np.lib.format.read_array_header_1_0(handle)
        for start in range(0, n, rows):
            count = min(rows, n - start)
            yield np.frombuffer(handle.read(count * dim * dtype.itemsize), dtype).reshape(count, dim)


@dataclass(frozen=True)
class MemoryPlan:
    """How many frames fit, and what they take."""

    capacity: int
    sample_bytes: int
    other_bytes: int

    def __str__(self) -> str:
        total = (self.sample_bytes + self.other_bytes) / 2**30
        return f"{self.capacity} frames in {self.sample_bytes / 2**30:.2f} GiB, with all else {total:.2f} GiB at most"


def plan_memory(bound_bytes: int, dim: int, num_units: int, other_bytes: int, max_frames: int) -> MemoryPlan:
    """How large a sample may be so that the process stays within `bound_bytes`.

    Args:
        other_bytes: the process without the sample: program, audio window, held-out frames.
        max_frames: more are not wanted.

    Raises:
        InputError: not even FEWEST_FRAMES_PER_UNIT frames a unit fit.
    """
    bytes_per_frame = dim * 4 + BYTES_PER_FRAME
    with_buffer = bytes_per_frame * (BUFFERS_PER_CAPACITY + 1) / BUFFERS_PER_CAPACITY
    search = SEARCH_BYTES + COARSE_START_FRAMES_PER_UNIT * num_units * dim * 4  # faiss's distances; the coarse start
    other = other_bytes + search
    capacity = min(int((bound_bytes - other) / with_buffer), max_frames)
    if capacity < min(FEWEST_FRAMES_PER_UNIT * num_units, max_frames):
        raise InputError(
            None,
            f"{bound_bytes / 2**30:.2f} GiB hold {max(capacity, 0)} frames of {dim} values for {num_units} units, "
            f"beside {other / 2**30:.2f} GiB for all else",
            "raise --memory-gib or take fewer units",
        )
    return MemoryPlan(capacity, int(capacity * with_buffer), other)
