"""The rows of a sweep: a JSON line a cell and test set, or one that says why a cell failed.

A row holds the edits of every utterance in the manifest's order, so that every interval and every breakdown of the
report follows from rows and manifests. Later lines replace earlier ones of the same cell.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterable, Sequence

from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import atomic_path, iter_lines, output_lock, parse_json
from sld_user_dir.sweep.cells import Cell, fingerprint
from sld_user_dir.sweep.plan_file import SweepPlan

SweepRow = dict[str, Any]
"""`cell`, `fingerprint`, `status` (`done` or `failed`), and with `done`, `test_set` and its results."""


def read_rows(path: Path) -> list[SweepRow]:
    """All rows of a file, the newest of each cell and test set; none where there is no file.

    Raises:
        InputError: a line that is no row.
    """
    rows: dict[tuple[str, str], SweepRow] = {}
    if not path.exists():
        return []
    for number, line in enumerate(iter_lines(path), start=1):
        try:
            row = parse_json(line)
            key = row["cell"], row.get("test_set", "")
            if not all(isinstance(value, str) for value in (*key, row["status"], row["fingerprint"])):
                raise ValueError("its cell, test_set, status and fingerprint are texts")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(line_of(path, number), f"no row of a sweep ({error})", "remove the line") from error
        if row["status"] == "done":
            rows.pop((row["cell"], ""), None)  # it had failed before
        rows[key] = row
    return list(rows.values())


def add_rows(path: Path, new: Iterable[SweepRow]) -> None:
    """Add rows to a file, which is written whole, by one process at a time; what they replace is dropped."""
    new = list(new)
    with output_lock(path):
        _add_rows(path, new)


def _add_rows(path: Path, new: Sequence[SweepRow]) -> None:
    replaced = {(row["cell"], row.get("test_set", "")) for row in new} | {(row["cell"], "") for row in new}
    kept = [row for row in read_rows(path) if (row["cell"], row.get("test_set", "")) not in replaced]
    rows = sorted([*kept, *new], key=lambda row: (row["cell"], row.get("test_set", "")))
    with atomic_path(path) as aside:
        aside.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")


def current_rows(plan: SweepPlan, cells: Sequence[Cell], rows: Sequence[SweepRow]) -> list[SweepRow]:
    """The rows of these cells that were made by the plan as it stands, with its data."""
    prints = {cell.name: fingerprint(plan, cell) for cell in cells}
    return [row for row in rows if prints.get(row["cell"]) == row["fingerprint"]]


def unfinished(plan: SweepPlan, cells: Sequence[Cell], rows: Sequence[SweepRow]) -> list[Cell]:
    """The cells that lack a row of one of their test sets."""
    done = {(row["cell"], row["test_set"]) for row in current_rows(plan, cells, rows) if row["status"] == "done"}
    return [
        cell for cell in cells if any((cell.name, t) not in done for t in plan.conditions[cell.condition].test_sets)
    ]
