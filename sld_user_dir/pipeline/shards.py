"""A stage cut into n shards, each written whole or not at all, and redone only where missing.

Shards lie in `OUT.shards/JOB-of-N/`, JOB being a fingerprint of everything that decides the
result: shards of other settings are never taken for these. The merged file has `OUT.job` beside
it with the same fingerprint; a second run sees it and does nothing. Where recordings were left
out, the sizes and times of these follow, so that those that were mended in their places are taken in.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterable, Optional, Sequence, TypeVar

from sld_user_dir.arrays import PathLike
from sld_user_dir.errors import InputError
from sld_user_dir.files import atomic_path, iter_lines, output_lock, read_lines, sha256_of
from sld_user_dir.manifests.rejected import NothingLeftError
from sld_user_dir.pipeline.recording_changes import changed_since, left_out_states, newer_than
from sld_user_dir.pipeline.recording_list import first_names

logger = logging.getLogger(__name__)
Item = TypeVar("Item")


class ShardError(InputError):
    """Shards are missing or cannot be merged; the message names them."""


def shard_of(items: Sequence[Item], index: int, n: int) -> Sequence[Item]:
    """The `index`-th of `n` consecutive, nearly equal parts; joined, they are `items` again."""
    if not 0 <= index < n:
        raise ValueError(f"shard {index} of {n}: count from 0 to {n - 1}")
    return items[len(items) * index // n : len(items) * (index + 1) // n]


def fingerprint(**inputs: Any) -> str:
    """12 hex characters over JSON values."""
    text = json.dumps(inputs, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def file_sha256(path: PathLike) -> str:
    """`sha256:...` of a file's bytes."""
    return f"sha256:{sha256_of(path)}"


@dataclass(frozen=True)
class Job(ABC):
    """A stage with one output file. Subclasses say what a shard is and how shards are joined."""

    out: Path
    n_shards: int

    @abstractmethod
    def inputs(self) -> dict[str, Any]:
        """All that decides the output, as JSON values; files by their hash."""

    @abstractmethod
    def write_shard(self, index: int, path: Path) -> None:
        """Make shard `index` at `path`, atomically."""

    @abstractmethod
    def merge(self, paths: list[Path]) -> None:
        """Make `out` of all shards, atomically."""

    def recordings_used(self) -> Iterable[Path]:
        """What each row of the output was made of, to say which of them are newer than it."""
        return ()

    @cached_property
    def key(self) -> str:
        """Fingerprint of the inputs."""
        return fingerprint(**self.inputs())

    @property
    def folder(self) -> Path:
        """Where the shards of these inputs lie until they are merged."""
        return self.out.with_name(f"{self.out.name}.shards") / f"{self.key}-of-{self.n_shards}"

    def shard_path(self, index: int) -> Path:
        """The file of one shard, with the ending of the output."""
        return self.folder / f"{index:05d}{self.out.suffix}"

    def pending(self) -> list[int]:
        """Shards that are still to be made; none once the output is there."""
        if self.is_done():
            return []
        return [i for i in range(self.n_shards) if not self.shard_path(i).exists()]

    def run_shard(self, index: int) -> None:
        """Make one shard unless it is there; where another process makes it, wait for that one."""
        path = self.shard_path(index)
        with output_lock(path):
            there = path.exists() or self.is_done()
            if there:
                logger.info("shard %d of %d is there", index, self.n_shards)
            else:
                started = time.time()
                self.write_shard(index, path)
                self._write_mark(path, left_out_states(path, since=started))
        if there and self.is_done():  # others have merged meanwhile
            self._remove_shards()

    def is_done(self) -> bool:
        """Whether the output is there, made of the same inputs, and what it left out has not changed."""
        return self._is_of_these_inputs() and not self.mended()

    def mended(self) -> list[Path]:
        """Recordings that an output of the same inputs left out, and that have changed since they were read."""
        return changed_since(self._left_out(self.out)) if self._is_of_these_inputs() else []

    def finish(self) -> None:
        """Merge, mark as done, remove the shards.

        Raises:
            ShardError: some are missing.
            NothingLeftError: no shard has anything. They are removed, since recordings may be mended in their places.
        """
        if self.is_done():
            logger.info("%s is there, of the same inputs", self.out)
            self._remove_shards()  # of a run that was killed before it could
            self._say_newer()
            return
        missing = self.pending()
        if missing:
            raise ShardError(
                self.out, f"shards {missing} of {self.n_shards} are missing", "run again, it makes these only"
            )
        self._mark(self.out).unlink(missing_ok=True)
        shards = [self.shard_path(i) for i in range(self.n_shards)]
        try:
            self.merge(shards)
        except NothingLeftError:
            self._remove_shards()
            raise
        self._write_mark(self.out, [line for path in shards for line in self._left_out(path)])
        self._remove_shards()
        mended = self.mended()
        if mended:  # not taken in here: other shards may have speakers' statistics without them
            said = "%s: %d recordings that it left out have changed meanwhile: %s; run again to take them in"
            logger.warning(said, self.out, len(mended), first_names(mended))

    def _remove_shards(self) -> None:
        """Remove those of these inputs, and their folder if there are no others."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty, or not there
            self.folder.parent.rmdir()

    def _mark(self, path: Path) -> Path:
        """Beside the output, and beside each shard: the key, and the states of the recordings that it left out."""
        return path.with_name(path.name + ".job")

    def _write_mark(self, path: Path, left_out: list[str]) -> None:
        with atomic_path(self._mark(path)) as aside:
            aside.write_text("".join(f"{line}\n" for line in (self.key, *left_out)), encoding="utf-8")

    def _is_of_these_inputs(self) -> bool:
        mark = self._mark(self.out)
        return self.out.exists() and mark.exists() and next(iter_lines(mark), "").strip() == self.key

    def _left_out(self, path: Path) -> list[str]:
        """The states that stand in the mark; a shard of a process that was killed before it wrote it has none."""
        mark = self._mark(path)
        return read_lines(mark)[1:] if mark.exists() else left_out_states(path)

    def _say_newer(self) -> None:
        mark = self._mark(self.out)
        newer = newer_than(self.recordings_used(), mark)
        if newer:
            said = "%s: %d recordings are newer than it: %s; if their sound has changed, remove %s and run again"
            logger.warning(said, self.out, len(newer), first_names(newer), mark)


def join_tables(paths: Iterable[Path], out: PathLike, if_empty: Optional[Callable[[], Exception]] = None) -> None:
    """Concatenate TSV files whose header lines agree (`#` lines, then the column names).

    Args:
        if_empty: makes the error to raise where there is no row; then nothing is written.

    Raises:
        ShardError: names the file whose header differs.
    """
    columns: dict[bytes, Path] = {}  # header lines, and the first file that has them
    with atomic_path(out) as aside, open(aside, "wb") as target:
        empty = b""
        for path in paths:
            with open(path, "rb") as source:
                header = _header(source)
                first = source.readline()
                empty = empty or header
                if not first:
                    continue  # a shard without a row need not know all columns
                if not columns:
                    target.write(header)
                if columns.setdefault(header, path) is path and len(columns) > 1:
                    raise ShardError(
                        path, f"another header than {next(iter(columns.values()))}", "remove the shards and run again"
                    )
                target.write(first)
                shutil.copyfileobj(source, target)
        if not columns and if_empty is not None:
            raise if_empty()
        if not columns:
            target.write(empty)


def _header(source: BinaryIO) -> bytes:
    lines = [source.readline()]
    while lines[-1].startswith(b"#"):
        lines.append(source.readline())
    return b"".join(lines)
