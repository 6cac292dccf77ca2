"""Unit manifests as memory-mapped arrays: parsed once, then opened without reading a line.

The first opening of a manifest writes, beside it,

    .mmap/<name>.<sha256, 16 hex>/   meta.json       header, columns, sizes, the source's signature
                                     units.bin       raw units, uint16 or int32, row after row
                                     unit_offsets.bin    int64 (rows + 1,)
                                     fields.bin      of each line all but the units, UTF-8
                                     field_offsets.bin   int64 (rows + 1,)
                                     map.ledger.json     utterances and units of the source and of the map
                                     text-<vocabulary>/  transcripts as ids, likewise

or, where that directory is read-only, below `$XDG_CACHE_HOME/sld_user_dir` (`~/.cache`). All
workers and ranks then share the pages of one file. A directory is written aside and renamed, so
none is ever half there; its name follows the content of the manifest, so none is ever out of date.

Plain arrays, since fairseq's indexed form stores one int32 length and one pointer a row beside the
same array of units, and has no place for ids, texts and provenance.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import logging
import os
import shutil
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from sld_user_dir.file_locks import file_lock
from sld_user_dir.files import publish_directory, read_json, scratch_directory, without_returns
from sld_user_dir.ledger.ledger_entry import Flow, LedgerEntry
from sld_user_dir.ledger.ledger_file import SUFFIX, write_ledger
from sld_user_dir.manifests.fast_reader import NeedsSlowReader, parse_chunks
from sld_user_dir.manifests.manifest_counts import unit_manifest_counts
from sld_user_dir.manifests.map_checks import rows_of, whole_meta
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.ragged import Ragged, ragged
from sld_user_dir.manifests.unit_manifest import Manifest, ManifestError, UtteranceTable, encode_rows, read_manifest

logger = logging.getLogger(__name__)

VERSION = 2
RACY_NS = 2 * 10**9
"""A file that changed later than this before it was read may change again without a new time stamp."""


class MappedManifest(UtteranceTable):
    """`Manifest` over memory maps: the same attributes and methods, rows read when asked for."""

    def __init__(self, path: Path, directory: Path):
        meta = read_json(directory / "meta.json")
        self.path, self.directory = path, directory
        self.header: dict[str, Any] = meta["header"]
        self.columns: list[str] = meta["columns"]
        self.first_line: int = meta["first_line"]
        self.provenance = UnitProvenance.from_json(meta["provenance"])
        self.units = _map(directory / "units.bin", meta["unit_dtype"])
        self.offsets = _map(directory / "unit_offsets.bin", "int64")
        self._fields = _map(directory / "fields.bin", "uint8")
        self._field_offsets = _map(directory / "field_offsets.bin", "int64")
        self._names = [c for c in self.columns if c != "units"]

    def _values(self, row: int) -> list[str]:
        start, stop = self._field_offsets[row : row + 2]
        try:
            values = without_returns(self._fields[start:stop].tobytes().decode("utf-8")).split("\t")
        except UnicodeDecodeError:
            values = []
        if len(values) != len(self._names):
            remedy = "remove it; the next start makes it again"
            raise ManifestError(self.directory, f"a damaged memory map: its row {row} is no row", remedy)
        return values

    def column(self, name: str) -> list[str]:
        """All values of a column."""
        if name == "units":
            return [" ".join(map(str, self.units_of(i).tolist())) for i in range(len(self))]
        place = self._names.index(name)
        return [self._values(row)[place] for row in range(len(self))]

    def values(self, row: int) -> dict[str, str]:
        return dict(zip(self._names, self._values(row)))

    def encoded_texts(self, vocab: Any) -> tuple[Ragged, int]:
        """Text ids of all transcripts, and how many are `<unk>`; encoded once a vocabulary."""
        target = self.directory / f"text-{vocab.fingerprint}"
        if not _holds_texts(target, len(self)):
            try:
                shutil.rmtree(target, ignore_errors=True)
                _write_directory(target, lambda partial: _write_texts(partial, self, vocab))
            except OSError:  # another user's cache
                ids = list(encode_rows(self, vocab.encode_text, self.column("text")))
                return ragged(ids), sum(row.count(vocab.unk) for row in ids)
        meta = read_json(target / "meta.json")
        rows = Ragged(_map(target / "ids.bin", "int32"), _map(target / "offsets.bin", "int64"))
        return rows, meta["unknown"]


def open_manifest(path: Any) -> MappedManifest | Manifest:
    """A manifest from its memory map, which is made now if there is none.

    In memory, with a warning, if no cache directory can be written.

    Raises:
        ManifestError: as `read_manifest`, naming file and line.
    """
    path = Path(path)
    if not path.is_file():
        return read_manifest(path)  # says so
    for root in _roots(path):
        found = _find(path, root)
        if found is not None:
            return MappedManifest(path, found)
    for root in _roots(path):
        try:
            root.mkdir(parents=True, exist_ok=True)
            with file_lock(root / f"{path.name}.lock"):
                return MappedManifest(path, _find(path, root) or _build(path, root))
        except OSError as error:
            logger.info("%s: no memory map below %s: %s", path, root, error)
    logger.warning("%s: no cache directory can be written; every process keeps a copy in memory", path)
    return read_manifest(path)


def _roots(path: Path) -> list[Path]:
    """Where a manifest's maps may lie: beside it, or in the user's cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = hashlib.sha256(str(path.resolve().parent).encode()).hexdigest()[:16]
    return [path.parent / ".mmap", home / "sld_user_dir" / place]


def _maps(path: Path, root: Path) -> list[Path]:
    return list(root.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 16}"))


def _signature(path: Path) -> list[int]:
    """What changes whenever a file is written, and can be had without reading it."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _meta(directory: Path) -> Optional[dict[str, Any]]:
    """What a map says of itself; None if it is damaged or of another version."""
    return whole_meta(directory, VERSION)


def _holds_texts(directory: Path, n_rows: int) -> bool:
    """Whether the encoded transcripts of all rows are there."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        unknown = read_json(directory / "meta.json")["unknown"]
        return type(unknown) is int and rows_of(directory / "ids.bin", directory / "offsets.bin", "int32") == n_rows
    return False


def _find(path: Path, root: Path) -> Optional[Path]:
    """The map of this very content: by the file's signature, else by the hash of its bytes."""
    metas = {directory: _meta(directory) for directory in _maps(path, root)}
    usable = {directory: meta for directory, meta in metas.items() if meta is not None}
    signature = _signature(path)
    for directory, meta in usable.items():
        if meta["signature"] == signature:
            return directory
    if not usable:
        return None
    same = root / f"{path.name}.{_content_hash(path)}"
    return same if same in usable else None


def _content_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:16]


def _build(path: Path, root: Path) -> Path:
    """Parse the manifest into a new directory of `root`; those of its former contents go."""
    start, before = time.monotonic(), _signature(path)
    digest = hashlib.sha256()
    with scratch_directory(root) as partial:
        try:
            meta = _write_arrays(path, partial, digest)
        except NeedsSlowReader as doubt:
            raise _explain(path, doubt) from None
        if _signature(path) != before:
            raise ManifestError(path, "it changed while it was read", "start again once it is complete")
        recent = time.time_ns() - max(before[1:3]) < RACY_NS
        _write_ledger(path, partial, digest.hexdigest())
        meta.update(version=VERSION, signature=None if recent else before)
        (partial / "meta.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")
        target = root / f"{path.name}.{digest.hexdigest()[:16]}"
        former = [directory for directory in _maps(path, root) if directory != target]
        if _meta(target) is None:
            shutil.rmtree(target, ignore_errors=True)
        publish_directory(partial, target)
    for directory in former:
        shutil.rmtree(directory, ignore_errors=True)
    logger.info("%s: memory map written to %s in %.1f s", path, target, time.monotonic() - start)
    return target


def _write_ledger(path: Path, directory: Path, sha256: str) -> None:
    """What the manifest has, counted by its lines, and what the map of it has."""
    offsets = _map(directory / "unit_offsets.bin", "int64")
    counts = {"utterances": len(offsets) - 1, "units": int(offsets[-1])}
    held = unit_manifest_counts(path, lengths=False)
    write_ledger(
        LedgerEntry("memory map", None, counts, [Flow([path], held)]), directory / f"map{SUFFIX}", {path: sha256}
    )


def _explain(path: Path, doubt: NeedsSlowReader) -> Exception:
    """The slow reader's words for what the fast one stumbled over."""
    try:
        read_manifest(path)
    except ManifestError as error:
        return error
    return RuntimeError(f"{path}: the fast reader refuses what read_manifest accepts ({doubt})")


def _write_arrays(path: Path, directory: Path, digest: Any) -> dict[str, Any]:
    head, chunks = parse_chunks(path, digest)
    dtype = np.uint16 if head.provenance.num_units <= 2**16 else np.int32
    unit_counts, field_sizes = [], []
    with (directory / "units.bin").open("wb") as units, (directory / "fields.bin").open("wb") as fields:
        for chunk in chunks:
            units.write(chunk.units.astype(dtype).tobytes())
            fields.write(b"".join(chunk.fields))
            unit_counts.append(chunk.counts)
            field_sizes.append(np.array([len(f) for f in chunk.fields], dtype=np.int64))
    _write_offsets(directory / "unit_offsets.bin", unit_counts)
    _write_offsets(directory / "field_offsets.bin", field_sizes)
    return {
        "header": head.header,
        "provenance": asdict(head.provenance),
        "columns": head.columns,
        "first_line": head.first_line,
        "unit_dtype": np.dtype(dtype).name,
    }


def _write_texts(directory: Path, manifest: MappedManifest, vocab: Any) -> None:
    """Encode transcripts by the thousand, so that little of them is in memory at once."""
    counts, unknown = [], 0
    encoded = encode_rows(manifest, vocab.encode_text, manifest.column("text"))
    with (directory / "ids.bin").open("wb") as out:
        while some := list(islice(encoded, 1000)):
            rows = ragged(some)
            out.write(rows.flat.tobytes())
            counts.append(rows.lengths)
            unknown += int((rows.flat == vocab.unk).sum())
    _write_offsets(directory / "offsets.bin", counts)
    (directory / "meta.json").write_text(json.dumps({"unknown": unknown}))


def _write_offsets(path: Path, counts: list[np.ndarray]) -> None:
    np.concatenate([np.zeros(1, np.int64), *counts]).cumsum().tofile(path)


def _map(path: Path, dtype: str) -> np.ndarray:
    """A file as an array; an empty one can't be mapped."""
    if not path.stat().st_size:
        return np.zeros(0, dtype=dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))  # as a plain array it is quicker to slice


def _write_directory(target: Path, write: Callable[[Path], None]) -> None:
    with scratch_directory(target.parent) as partial:
        write(partial)
        publish_directory(partial, target)
