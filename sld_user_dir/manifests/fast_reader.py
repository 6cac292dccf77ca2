"""A manifest's text to arrays, by the megabyte: what `read_manifest` does, in bounded memory.

Validation is one and the same: where anything looks wrong here, `NeedsSlowReader` sends the caller to
`read_manifest`, which finds the line and says what is wrong with it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterable, Iterator, NamedTuple

import numpy as np

from sld_user_dir.files import BYTE_ORDER_MARK, MAX_LINE_BYTES, bare_line
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_manifest import ManifestError, parse_columns, parse_head

CHUNK_BYTES = 2**21  # of lines that are parsed together
_MARK = BYTE_ORDER_MARK.encode()


class NeedsSlowReader(ValueError):
    """Something that only the slow reader can name, or clear."""


class ManifestHead(NamedTuple):
    """What stands above the rows; `first_line` is the line number of the first row."""

    header: dict[str, Any]
    provenance: UnitProvenance
    columns: list[str]
    first_line: int


class RowChunk(NamedTuple):
    """Some consecutive rows: raw units of all, their number in each row, and the other columns."""

    units: np.ndarray  # (sum N,) int64
    counts: np.ndarray  # (rows,) int64
    fields: list[bytes]  # of each row the line without its units, tabs between


def parse_chunks(path: Path, digest: Any = None) -> tuple[ManifestHead, Iterator[RowChunk]]:
    """The head of a manifest and an iterator over its rows.

    Args:
        digest: a hashlib object that is fed with every byte of the file.

    Raises:
        NeedsSlowReader: at once or later, anything that `read_manifest` might refuse.
    """
    lines = _lines(path, digest or hashlib.sha256())
    try:
        top: list[str] = []
        for line in lines:
            top.append(line.decode("utf-8"))
            if not line.startswith(b"#"):
                break
    except (OSError, UnicodeDecodeError) as error:
        raise NeedsSlowReader(str(error)) from error
    try:
        header, provenance, n_header = parse_head(path, top)
        columns = parse_columns(top[-1], "the line of column names")  # a header line where there is none
    except ManifestError as error:
        raise NeedsSlowReader(str(error)) from error
    head = ManifestHead(header, provenance, columns, n_header + 2)
    return head, _chunks(lines, head)


def _lines(path: Path, digest: Any) -> Iterator[bytes]:
    """Lines without their ends, as `files.decode_lines` has them, but as bytes."""
    with path.open("rb") as stream:
        while lines := _some_lines(stream):
            text = b"".join(lines)
            digest.update(text)
            text.decode("utf-8")
            if b"\0" in text:
                raise NeedsSlowReader("a NUL character")
            yield from map(bare_line, lines)


def _some_lines(stream: BinaryIO) -> list[bytes]:
    """Lines of about `CHUNK_BYTES` in all."""
    lines, size = [], 0
    while size < CHUNK_BYTES and (line := stream.readline(MAX_LINE_BYTES + 1)):
        if len(line) > MAX_LINE_BYTES:
            raise NeedsSlowReader("a line without an end")
        lines.append(line)
        size += len(line)
    return lines


def _chunks(lines: Iterator[bytes], head: ManifestHead) -> Iterator[RowChunk]:
    seen: set[bytes] = set()
    is_row = _row_checker(head.columns, seen)
    durations = head.columns.index("durations") if "durations" in head.columns else None
    for rows in _batches(lines, is_row):
        place = head.columns.index("units")
        units, counts = parse_rows([row[place] for row in rows])
        if units.max() >= head.provenance.num_units:
            raise NeedsSlowReader("a unit outside the vocabulary")
        if head.provenance.collapsed and _has_runs(units, counts):
            raise NeedsSlowReader("runs of a unit")
        if durations is not None:
            frames, frame_counts = parse_rows([row[durations] for row in rows])
            if not np.array_equal(frame_counts, counts) or frames.min() < 1:
                raise NeedsSlowReader("durations")
        fields = [b"\t".join(row[:place] + row[place + 1 :]) for row in rows]
        yield RowChunk(units, counts, fields)


def _has_runs(units: np.ndarray, counts: np.ndarray) -> bool:
    """Whether a unit follows itself within a row."""
    same = units[1:] == units[:-1]
    same[np.cumsum(counts)[:-1] - 1] = False  # the last of a row and the first of the next
    return bool(same.any())


def _row_checker(columns: list[str], seen: set[bytes]) -> Callable[[list[bytes]], bool]:
    """Checks of one row's columns; the numbers are checked by the chunk."""
    name, text, width = columns.index("id"), columns.index("text"), len(columns)

    def is_row(row: list[bytes]) -> bool:
        if len(row) != width or not row[name] or row[name] in seen or not row[text].decode().strip():
            return False
        if b"\r" in row[name] or row[name].startswith(_MARK):
            return False
        seen.add(row[name])
        return True

    return is_row


def _batches(lines: Iterable[bytes], is_row: Callable[[list[bytes]], bool]) -> Iterator[list[list[bytes]]]:
    """Rows split into columns, in lists of about `CHUNK_BYTES`."""
    rows: list[list[bytes]] = []
    size, blank = 0, False
    try:
        for line in lines:
            row = line.split(b"\t")
            if not is_row(row):
                if line.decode().strip():
                    raise NeedsSlowReader("a row")
                blank = True  # no row, where nothing but such lines follows
                continue
            if blank:
                raise NeedsSlowReader("a blank line among the rows")
            rows.append(row)
            size += len(line)
            if size >= CHUNK_BYTES:
                yield rows
                rows, size = [], 0
    except UnicodeDecodeError as error:
        raise NeedsSlowReader(str(error)) from error
    if rows:
        yield rows


def parse_rows(rows: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers int64 (sum N,) of rows like `b"71 12 57"`, and how many each row has, int64 (rows,).

    Raises:
        NeedsSlowReader: a row without numbers, or anything but digits and spaces.
    """
    text = b" ".join(rows)
    if text.translate(None, b"0123456789 ") or not text.strip():
        raise NeedsSlowReader("not a number")
    numbers = np.fromstring(text, dtype=np.int64, sep=" ")
    counts = np.array([row.count(b" ") + 1 for row in rows], dtype=np.int64)
    if counts.sum() != len(numbers):  # more spaces than needed, or an empty row
        counts = np.array([len(row.split()) for row in rows], dtype=np.int64)
    if counts.min() < 1 or numbers.max() > np.iinfo(np.int32).max:
        raise NeedsSlowReader("no number, or a very large one")
    return numbers, counts
