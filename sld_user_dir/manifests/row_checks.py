"""What every row of a unit manifest must satisfy."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Callable

import numpy as np

from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import parse_json
from sld_user_dir.manifests.named_columns import cell_problem, check_row
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_text import parse_numbers

Refusal = Callable[[str, str], InputError]
"""An error at a row, of the problem and its remedy."""


def checked_units(
    path: Path,
    first_line: int,
    columns: list[str],
    rows: list[list[str]],
    made_by: UnitProvenance,
    error: type[InputError],
) -> list[np.ndarray]:
    """Raw units int32 [N] of every row, after checking all that a row must satisfy.

    Args:
        first_line: line number of the first row.
        error: the kind of error to raise.

    Raises:
        InputError: of the kind `error`, at the first line that is wrong.
    """
    place = {name: i for i, name in enumerate(columns)}
    first_seen: dict[str, int] = {}
    result = []
    for line, row in enumerate(rows, first_line):
        refusal: Refusal = partial(error, line_of(path, line))
        if len(row) != len(columns):
            _refuse_second_header(refusal, rows[line - first_line :], made_by)
        check_row(row, columns, line_of(path, line), error)
        name = row[place["id"]]
        if not name:
            raise refusal("empty id", "give every utterance an id of its own")
        problem = cell_problem(name, first=True)
        if problem:
            raise refusal(f"the id {name!r} {problem}", "rename it")
        if name in first_seen:
            raise refusal(f"duplicate id {name!r}, first on line {first_seen[name]}", "rename or remove one")
        first_seen[name] = line
        if not row[place["text"]].strip():
            raise refusal(f"empty transcript of {name!r}", "add the text or remove the line")
        units = _units(row[place["units"]], made_by.num_units, refusal)
        if made_by.collapsed and bool((same := units[1:] == units[:-1]).any()):
            raise refusal(
                f"unit {units[int(same.argmax())]} of {name!r} follows itself, but the header says that units are "
                "de-duplicated",
                "raw and de-duplicated units do not mix: extract all of them again in one way",
            )
        if "durations" in place:
            _check_durations(row[place["durations"]], len(units), refusal)
        result.append(units)
    return result


def _refuse_second_header(refusal: Refusal, rows: list[list[str]], made_by: UnitProvenance) -> None:
    """Say so where another manifest was appended to this one, `rows` being what begins with the odd line."""
    if not rows[0][0].startswith(("# format:", "# provenance:")):
        return
    stated = next((row[0].partition(":")[2] for row in rows if row[0].startswith("# provenance:")), "")
    try:
        other = UnitProvenance.from_json(parse_json(stated))
    except (TypeError, ValueError):
        raise refusal("a second header among the rows", "one file holds one manifest: keep them apart") from None
    if other.fingerprint == made_by.fingerprint:
        raise refusal("a second header among the rows, of the same units", "remove its lines and column names")
    raise refusal(
        f"a second manifest begins here, whose units are {other.describe()}, but those above are {made_by.describe()}",
        "units of two encoders or k-means do not mix: keep the files apart, or extract all units again in one way",
    )


def _units(text: str, num_units: int, refusal: Refusal) -> np.ndarray:
    if not text.strip():
        raise refusal("no units", "remove the line, or extract its units again")
    try:
        units = parse_numbers(text)
    except ValueError as problem:
        raise refusal(f"bad units: {problem}", "write them as: 71 12 57") from None
    if units.max() >= num_units:
        raise refusal(
            f"unit {units.max()} is outside the vocabulary of {num_units} (0 … {num_units - 1})",
            "use units of the k-means that the header names",
        )
    return units


def _check_durations(text: str, n_units: int, refusal: Refusal) -> None:
    try:
        durations = parse_numbers(text)
    except ValueError as problem:
        raise refusal(f"bad durations: {problem}", "write them as: 1 4 2") from None
    if len(durations) != n_units or (n_units and durations.min() < 1):
        raise refusal(
            f"{len(durations)} durations for {n_units} units, or one below 1 frame",
            "give each unit its number of frames",
        )
