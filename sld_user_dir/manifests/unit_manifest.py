"""The unit manifest: one UTF-8 TSV file that says all about its units.

::

    # format: "speech-unit-manifest/1"
    # provenance: {"encoder": "mfcc-39", "kmeans": "sha256:…", "num_units": 300, …}
    # license: "CC BY-SA 4.0"
    id<TAB>units<TAB>text<TAB>speaker
    utt1<TAB>71 12 57<TAB>three four<TAB>george

Header lines are ``# key: JSON value``; then the column names; then one
utterance a line. ``id``, ``units`` and ``text`` are required; ``durations``
(frames of each unit) is checked; every other column is kept as it is.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Optional, Union

import numpy as np

from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import atomic_path
from sld_user_dir.manifests.provenance import UnitProvenance

FORMAT = "speech-unit-manifest/1"
REQUIRED = ("id", "units", "text")
PathLike = Union[str, Path]


class ManifestError(InputError):
    """A unit manifest that cannot be used, or must not be used with another one."""


@dataclass
class Utterance:
    """One row: ``units`` int32 [N] raw ids, ``durations`` int64 [N] frames or None."""

    id: str
    units: np.ndarray
    text: str
    durations: Optional[np.ndarray] = None
    fields: dict[str, str] = field(default_factory=dict)


class Rows:
    """Access to utterances by row, for a manifest in memory and for a memory map."""

    units: np.ndarray
    offsets: np.ndarray
    first_line: int

    def values(self, row: int) -> dict[str, str]:
        """The columns of a row, but for the units."""
        raise NotImplementedError

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


@dataclass
class Manifest(Rows):
    """A manifest in memory: ``units[offsets[i]:offsets[i + 1]]`` are row i's."""

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
        return [row[index] for row in self.rows]

    def values(self, row: int) -> dict[str, str]:
        values = dict(zip(self.columns, self.rows[row]))
        del values["units"]
        return values


def parse_numbers(text: str) -> np.ndarray:
    """``"71 12 57"`` to int32 [N].

    Raises:
        ValueError: anything but whole numbers from 0 to 2^31 - 1, separated by spaces.
    """
    if not text.replace(" ", "").isdecimal() or not text.isascii():
        raise ValueError("not a list of whole numbers separated by spaces")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy only warns about what it cannot read
        numbers = np.fromstring(text, dtype=np.int64, sep=" ")
    if numbers.size and numbers.max() > np.iinfo(np.int32).max:
        raise ValueError(f"{numbers.max()} is no unit id")
    return numbers.astype(np.int32)


def _text_lines(path: Path) -> list[str]:
    """Lines of a file, decoded one by one so that an error can name its line."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ManifestError(path, "no such manifest", "check the path and split name") from None
    try:
        return data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError(
            line_of(path, line), f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8"
        ) from None


def _read_header(path: Path, lines: list[str]) -> tuple[dict[str, Any], int]:
    header: dict[str, Any] = {}
    number = 0
    for number, line in enumerate(lines, 1):
        if not line.startswith("#"):
            break
        key, colon, value = line[1:].partition(":")
        try:
            if not colon:
                raise ValueError("no colon")
            header[key.strip()] = json.loads(value)
        except ValueError as error:
            raise ManifestError(
                line_of(path, number), f"header line is not '# key: JSON value' ({error})", "correct it"
            ) from None
    if header.get("format") != FORMAT:
        raise ManifestError(
            line_of(path, 1),
            f"not a unit manifest: no '# format: \"{FORMAT}\"' at the top",
            "import other formats with sld import",
        )
    return header, number


def _read_provenance(path: Path, header: dict[str, Any]) -> UnitProvenance:
    try:
        made_by = UnitProvenance(**header["provenance"])
        if type(made_by.num_units) is not int or made_by.num_units < 1:
            raise ValueError(f"num_units is {made_by.num_units!r}, no number of units")
        return made_by
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(path, f"header has no valid provenance ({error})", "state what made the units") from None


def read_manifest(path: PathLike) -> Manifest:
    """Read and validate a whole manifest.

    Raises:
        ManifestError: names file, line and remedy for a missing column, a unit outside
            0 … num_units - 1, an empty transcript or unit list, a duplicate id, a wrong
            number of columns, durations that do not match, bytes that are not UTF-8, runs of
            a unit where the header says de-duplicated, a second manifest appended to the first.
    """
    path = Path(path)
    lines = _text_lines(path)
    header, header_line = _read_header(path, lines)
    provenance = _read_provenance(path, header)
    columns = lines[header_line - 1].split("\t")
    if columns[-1].endswith("\r"):
        raise ManifestError(line_of(path, header_line), "line ends of Windows", "save the file with plain line feeds")
    if len(set(columns)) < len(columns):
        raise ManifestError(line_of(path, header_line), f"a column twice among {columns}", "name each column once")
    missing = [c for c in REQUIRED if c not in columns]
    if missing:
        raise ManifestError(
            line_of(path, header_line),
            f"no column {', '.join(missing)} among {columns}",
            f"the line after the header names the columns: {', '.join(REQUIRED)}, …",
        )
    body = lines[header_line:]
    if body and body[-1] == "":
        body.pop()
    rows = [line.split("\t") for line in body]
    units = _check_rows(path, header_line + 1, columns, rows, provenance)
    offsets = np.cumsum([0, *map(len, units)], dtype=np.int64)
    flat = np.concatenate(units) if units else np.zeros(0, np.int32)
    return Manifest(path, provenance, header, columns, rows, flat, offsets, header_line + 1)


def _check_rows(
    path: Path, first_line: int, columns: list[str], rows: list[list[str]], made_by: UnitProvenance
) -> list[np.ndarray]:
    """Units of every row, after checking all that a row must satisfy."""
    place = {name: i for i, name in enumerate(columns)}
    seen: dict[str, int] = {}
    result = []
    for line, row in enumerate(rows, first_line):
        error = partial(ManifestError, line_of(path, line))
        if len(row) != len(columns):
            _refuse_second_header(error, rows[line - first_line :], made_by)
            raise error(f"{len(row)} columns, expected {len(columns)}", "separate columns by one tab")
        name = row[place["id"]]
        if not name:
            raise error("empty id", "give every utterance an id of its own")
        if name in seen:
            raise error(f"duplicate id {name!r}, first on line {seen[name]}", "rename or remove one")
        seen[name] = line
        if not row[place["text"]].strip():
            raise error(f"empty transcript of {name!r}", "add the text or remove the line")
        units = _units(row[place["units"]], made_by.num_units, error)
        if made_by.collapsed and bool((same := units[1:] == units[:-1]).any()):
            raise error(
                f"unit {units[int(same.argmax())]} of {name!r} follows itself, but the header says that units are "
                "de-duplicated",
                "raw and de-duplicated units do not mix: extract all of them again in one way",
            )
        if "durations" in place:
            _check_durations(row[place["durations"]], len(units), error)
        result.append(units)
    return result


def _refuse_second_header(
    error: Callable[[str, str], ManifestError], rows: list[list[str]], made_by: UnitProvenance
) -> None:
    """Say so where another manifest was appended to this one, `rows` being what begins with the odd line."""
    if not rows[0][0].startswith(("# format:", "# provenance:")):
        return
    stated = next((row[0].partition(":")[2] for row in rows if row[0].startswith("# provenance:")), "")
    try:
        other = UnitProvenance(**json.loads(stated))
    except (TypeError, ValueError):
        raise error("a second header among the rows", "one file holds one manifest: keep them apart") from None
    if other.fingerprint == made_by.fingerprint:
        raise error("a second header among the rows, of the same units", "remove its lines and column names")
    raise error(
        f"a second manifest begins here, whose units are {other.describe()}, but those above are {made_by.describe()}",
        "units of two encoders or k-means do not mix: keep the files apart, or extract all units again in one way",
    )


def _units(text: str, num_units: int, error: Callable[[str, str], ManifestError]) -> np.ndarray:
    if not text.strip():
        raise error("no units", "remove the line, or extract its units again")
    try:
        units = parse_numbers(text)
    except ValueError as problem:
        raise error(f"bad units: {problem}", "write them as: 71 12 57") from None
    if units.max() >= num_units:
        raise error(
            f"unit {units.max()} is outside the vocabulary of {num_units} (0 … {num_units - 1})",
            "use units of the k-means that the header names",
        )
    return units


def _check_durations(text: str, count: int, error: Callable[[str, str], ManifestError]) -> None:
    try:
        durations = parse_numbers(text)
    except ValueError as problem:
        raise error(f"bad durations: {problem}", "write them as: 1 4 2") from None
    if len(durations) != count or (count and durations.min() < 1):
        raise error(
            f"{len(durations)} durations for {count} units, or one below 1 frame", "give each unit its number of frames"
        )


def format_units(units: Iterable[int]) -> str:
    """``"71 12 57"`` of an array of raw units."""
    return " ".join(map(str, np.asarray(units).tolist()))


def _row(utterance: Utterance, columns: list[str]) -> str:
    values = {"id": utterance.id, "units": format_units(utterance.units), "text": utterance.text}
    if utterance.durations is not None:
        values["durations"] = format_units(utterance.durations)
    values.update(utterance.fields)
    if values.keys() != set(columns):
        odd = ", ".join(sorted(values.keys() ^ set(columns)))
        raise ValueError(f"{utterance.id}: not every utterance has the column {odd}")
    row = [str(values[c]) for c in columns]
    for name, value in zip(columns, row):
        if "\t" in value or "\n" in value:
            raise ValueError(f"{utterance.id}: column {name} contains a tab or a line break")
    return "\t".join(row)


def write_manifest(
    path: PathLike, utterances: Iterable[Utterance], provenance: UnitProvenance, header: Optional[dict[str, Any]] = None
) -> int:
    """Write a manifest aside, then rename it; the same input gives the same bytes.

    Args:
        header: further header entries (license, attribution, …).

    Returns:
        The number of utterances.
    """
    entries = {"format": FORMAT, "provenance": asdict(provenance), **(header or {})}
    entries.update(format=FORMAT, provenance=asdict(provenance))
    count = 0
    with atomic_path(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as out:
        for key, value in entries.items():
            out.write(f"# {key}: {json.dumps(value, ensure_ascii=False)}\n")
        columns: Optional[list[str]] = None
        for utterance in utterances:
            if columns is None:
                columns = ["id", "units", "text"]
                columns += ["durations"] * (utterance.durations is not None)
                columns += list(utterance.fields)
                out.write("\t".join(columns) + "\n")
            out.write(_row(utterance, columns) + "\n")
            count += 1
        if columns is None:
            out.write("\t".join(REQUIRED) + "\n")
    return count
