"""The unit manifest: one UTF-8 TSV file that says all about its units.

::

    # format: "speech-unit-manifest/1"
    # provenance: {"encoder": "mfcc-39", "kmeans": "sha256:…", "num_units": 300, …}
    # license: "CC BY-SA 4.0"
    id<TAB>units<TAB>text<TAB>speaker
    utt1<TAB>71 12 57<TAB>three four<TAB>george

Header lines are `# key: JSON value`; then the column names; then one
utterance a line. `id`, `units` and `text` are required; `durations`
(frames of each unit) is checked; every other column is kept as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Optional, TypeVar

import numpy as np

from sld_user_dir.arrays import PathLike
from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import atomic_path, printable, read_lines, without_returns
from sld_user_dir.manifests.header import check_format, header_lines, read_header
from sld_user_dir.manifests.named_columns import check_columns, table_line
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.row_checks import checked_units
from sld_user_dir.manifests.unit_text import format_numbers, parse_numbers

FORMAT = "speech-unit-manifest/1"
REQUIRED = ("id", "units", "text")
Item = TypeVar("Item")


class ManifestError(InputError):
    """A unit manifest that cannot be used, or must not be used with another one."""


@dataclass
class Utterance:
    """One row: `units` int32 [N] raw ids, `durations` int64 [N] frames or None."""

    id: str
    units: np.ndarray
    text: str
    durations: Optional[np.ndarray] = None
    fields: dict[str, str] = field(default_factory=dict)


class UtteranceTable(ABC):
    """Access to utterances by row, for a manifest in memory and for a memory map."""

    path: Path
    units: np.ndarray
    offsets: np.ndarray
    first_line: int

    @abstractmethod
    def values(self, row: int) -> dict[str, str]:
        """The columns of a row, but for the units."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def line(self, row: int) -> int:
        """Line number in the file of a row."""
        return self.first_line + row

    def units_of(self, row: int) -> np.ndarray:
        """Raw units [N] of a row: a view."""
        return self.units[self.offsets[row] : self.offsets[row + 1]]

    def __getitem__(self, row: int) -> Utterance:
        values = self.values(row)
        durations = values.pop("durations", None)
        return Utterance(
            id=values.pop("id"),
            units=self.units_of(row).astype(np.int32),
            text=values.pop("text"),
            durations=None if durations is None else parse_numbers(durations).astype(np.int64),
            fields=values,
        )

    def __iter__(self) -> Iterator[Utterance]:
        return (self[i] for i in range(len(self)))


def encode_rows(table: UtteranceTable, encode: Callable[[str], Item], texts: Iterable[str]) -> Iterator[Item]:
    """`encode` of each transcript.

    Args:
        texts: the transcripts of all rows, in their order.

    Raises:
        ManifestError: a transcript that cannot be encoded, with its line.
    """
    for row, text in enumerate(texts):
        try:
            yield encode(text)
        except InputError as error:
            raise ManifestError(line_of(table.path, table.line(row)), error.problem, error.remedy) from None


@dataclass
class Manifest(UtteranceTable):
    """A manifest in memory: `units[offsets[i]:offsets[i + 1]]` are row i's."""

    path: Path
    provenance: UnitProvenance
    header: dict[str, Any]
    columns: list[str]
    rows: list[list[str]]
    units: np.ndarray
    offsets: np.ndarray
    first_line: int

    def column(self, name: str) -> list[str]:
        """All values of a column."""
        index = self.columns.index(name)
        return [without_returns(row[index]) for row in self.rows]

    def values(self, row: int) -> dict[str, str]:
        values = dict(zip(self.columns, map(without_returns, self.rows[row])))
        del values["units"]
        return values


def parse_head(path: Path, lines: Iterable[str]) -> tuple[dict[str, Any], UnitProvenance, int]:
    """Header, provenance and the number of header lines, of a file whose first lines these are.

    Raises:
        ManifestError: no unit manifest, or no valid provenance.
    """
    header, n_header = read_header(path, lines, ManifestError)
    check_format(path, header, FORMAT, "a unit manifest", ManifestError, "import other formats with sld import")
    try:
        return header, UnitProvenance.from_json(header["provenance"]), n_header
    except (KeyError, TypeError, ValueError) as problem:
        raise ManifestError(path, f"header has no valid provenance ({problem})", "state what made the units") from None


def parse_columns(line: str, where: str) -> list[str]:
    """Names of the columns.

    Raises:
        ManifestError: a required column is missing, or one is there twice.
    """
    columns = line.split("\t")
    check_columns(columns, REQUIRED, where, ManifestError)
    return columns


def read_manifest(path: PathLike) -> Manifest:
    """Read and validate a whole manifest.

    Raises:
        ManifestError: names file, line and remedy for a missing column, a unit outside
            0 … num_units - 1, an empty transcript or unit list, a duplicate id or one that no
            table can hold, a wrong number of columns, durations that do not match, bytes that are not UTF-8, runs of
            a unit where the header says de-duplicated, a second manifest appended to the first.
    """
    path = Path(path)
    if not path.is_file():
        raise ManifestError(path, "no such manifest", "check the path and split name")
    lines = read_lines(path, ManifestError)
    header, provenance, n_header = parse_head(path, lines)
    if n_header == len(lines):
        raise ManifestError(line_of(path, n_header), "no line of column names below the header", "write the file again")
    columns = parse_columns(lines[n_header], line_of(path, n_header + 1))
    first_line = n_header + 2
    rows = [line.split("\t") for line in lines[n_header + 1 :]]
    units = checked_units(path, first_line, columns, rows, provenance, ManifestError)
    offsets = np.cumsum([0, *map(len, units)], dtype=np.int64)
    flat = np.concatenate(units) if units else np.zeros(0, np.int32)
    return Manifest(path, provenance, header, columns, rows, flat, offsets, first_line)


def refuse_empty(manifest: UtteranceTable) -> None:
    """Refuse a manifest without utterances, of which nothing can be made.

    Raises:
        ManifestError: there are none.
    """
    if not len(manifest):
        raise ManifestError(manifest.path, "no utterances", "make it again, or name another split")


def _row(utterance: Utterance, columns: list[str]) -> str:
    values = {"id": utterance.id, "units": format_numbers(utterance.units), "text": utterance.text}
    if utterance.durations is not None:
        values["durations"] = format_numbers(utterance.durations)
    values.update(utterance.fields)
    if values.keys() != set(columns):
        odd = ", ".join(sorted(values.keys() ^ set(columns)))
        raise ManifestError(utterance.id, f"not every utterance has the column {odd}", "give all of them the same")
    return table_line([str(values[c]) for c in columns], columns, printable(utterance.id), ManifestError)


def _refuse_own_columns(utterance: Utterance) -> None:
    """What came along with a recording is not to be taken for its units."""
    for name in utterance.fields:
        if name in (*REQUIRED, "durations"):
            raise ManifestError(utterance.id, f"a further column {name}, of which a manifest has one", "rename it")


def write_manifest(
    path: PathLike, utterances: Iterable[Utterance], provenance: UnitProvenance, header: Optional[dict[str, Any]] = None
) -> int:
    """Write a manifest aside, then rename it; the same input gives the same bytes.

    Args:
        header: further header entries (license, attribution, …).

    Returns:
        The number of utterances.

    Raises:
        ManifestError: utterances with different columns, a further one by the name of our own, a value that
            `table_line` refuses.
    """
    entries = {"format": FORMAT, "provenance": asdict(provenance), **(header or {})}
    entries.update(format=FORMAT, provenance=asdict(provenance))
    count = 0
    with atomic_path(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(line + "\n" for line in header_lines(entries))
        columns: Optional[list[str]] = None
        for utterance in utterances:
            if columns is None:
                columns = ["id", "units", "text"]
                columns += ["durations"] * (utterance.durations is not None)
                columns += list(utterance.fields)
                _refuse_own_columns(utterance)
                out.write("\t".join(columns) + "\n")
            out.write(_row(utterance, columns) + "\n")
            count += 1
        if columns is None:
            out.write("\t".join(REQUIRED) + "\n")
    return count
