"""Comma-separated tables with named columns, as spreadsheets write them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Iterator, Mapping, Optional, Sequence

from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import iter_lines
from sld_user_dir.manifests.named_columns import check_columns, check_row

_LONGEST_VALUE = 2**31 - 1
"""Characters of one value; the csv module stops at 2^17 by default, in all of the process."""


def csv_rows(
    path: Path, required: Sequence[str], error: type[InputError], refused: Optional[Mapping[str, str]] = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Number of the first line, and values by column, of each row. A quoted value may go over several lines.

    Args:
        required: columns that must be there.
        refused: columns that must not be there, each with the remedy.

    Raises:
        InputError: of the kind `error`: quotation marks that do not match, else as `table_rows`.
    """
    before = csv.field_size_limit(_LONGEST_VALUE)
    try:
        rows = list(_rows(path, error))
    finally:
        csv.field_size_limit(before)
    if not rows:
        raise error(line_of(path, 1), "no column names", f"name them on a line: {', '.join(required)}, …")
    number, columns = rows[0]
    check_columns(columns, required, line_of(path, number), error, refused)
    for number, values in rows[1:]:
        check_row(values, columns, line_of(path, number), error, "comma")
        yield number, dict(zip(columns, values))


def _rows(path: Path, error: type[InputError]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader((line + "\n" for line in iter_lines(path, error)), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as problem:
            raise error(
                line_of(path, number),
                f"the row that begins here is no row of a CSV file ({problem})",
                'close its quotation marks, and double those within a quoted value, as in "a ""b"" c"',
            ) from None
        if values is None:
            return
        if values:
            yield number, values
