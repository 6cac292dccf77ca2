"""Tab-separated tables: one line that names the columns, then one line a row."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, Mapping, Optional, Sequence

from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import begins_with_mark, unwritable


def check_columns(
    columns: Sequence[str],
    required: Sequence[str],
    where: str,
    error: type[InputError],
    refused: Optional[Mapping[str, str]] = None,
) -> None:
    """Refuse names of columns that repeat, that lack a required one, or that hold a refused one.

    Args:
        refused: columns that must not be there, each with the remedy.

    Raises:
        InputError: of the kind `error`, at `where`.
    """
    if len(set(columns)) < len(columns):
        raise error(where, f"a column twice among {list(columns)}", "name each column once")
    missing = [name for name in required if name not in columns]
    if missing:
        raise error(
            where,
            f"no column {', '.join(missing)} among {list(columns)}",
            f"the line above the rows names the columns: {', '.join(required)}, …",
        )
    for name, remedy in (refused or {}).items():
        if name in columns:
            raise error(where, f"a column {name}, which is not taken from here", remedy)


def check_row(
    values: Sequence[str], columns: Sequence[str], where: str, error: type[InputError], separator: str = "tab"
) -> None:
    """Refuse a row of another number of values than there are columns.

    Raises:
        InputError: of the kind `error`, at `where`.
    """
    if len(values) != len(columns):
        raise error(where, f"{len(values)} columns, expected {len(columns)}", f"separate columns by one {separator}")


def table_rows(
    path: Path,
    lines: Sequence[str],
    required: Sequence[str],
    error: type[InputError],
    n_header: int = 0,
    skip_blank: bool = False,
    refused: Optional[Mapping[str, str]] = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and values by column of each row.

    Args:
        path: the file that errors name.
        lines: of the whole file, without their ends.
        required: columns that must be there.
        n_header: lines above the one that names the columns.
        skip_blank: pass over empty lines, which in a table of several columns are rows of one.
        refused: columns that must not be there, each with the remedy.

    Raises:
        InputError: of the kind `error`: no line of column names; else as `check_columns` and `check_row`.
    """
    if n_header >= len(lines):
        raise error(line_of(path, n_header or 1), "no column names", f"name them on a line: {', '.join(required)}, …")
    columns = lines[n_header].split("\t")
    check_columns(columns, required, line_of(path, n_header + 1), error, refused)
    for number, line in enumerate(lines[n_header + 1 :], n_header + 2):
        if skip_blank and not line:
            continue
        values = line.split("\t")
        check_row(values, columns, line_of(path, number), error)
        yield number, dict(zip(columns, values))


def cell_problem(value: str, first: bool = False) -> Optional[str]:
    """Why a table cannot hold a value; None where it can.

    Args:
        first: it stands in the first column.
    """
    if first and begins_with_mark(value):
        return "begins with a byte order mark"
    return "contains a tab" if "\t" in value else unwritable(value)


def table_line(values: Sequence[str], columns: Sequence[str], where: str, error: type[InputError]) -> str:
    """The line of a row, without its end.

    Raises:
        InputError: of the kind `error`: a value that would not be read as it was written.
    """
    for place, (name, value) in enumerate(zip(columns, values)):
        problem = cell_problem(value, first=place == 0)
        if problem:
            raise error(where, f"column {name} {problem}", "rename it" if name in ("id", "path") else "remove it")
    return "\t".join(values)
