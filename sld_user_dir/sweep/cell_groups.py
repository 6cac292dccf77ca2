"""Rows put together: all trainings of an objective in a condition, on one test set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Optional, Sequence

import numpy as np

from sld_user_dir.sweep.cells import Cell
from sld_user_dir.sweep.plan_file import SweepPlan
from sld_user_dir.sweep.rows import SweepRow
from sld_user_dir.sweep.uncertainty import ErrorTable


@dataclass(frozen=True)
class CellGroup:
    """What is known of an objective in a condition on a test set: its rows, by seed."""

    condition: str
    objective: str
    test_set: str
    rows: Sequence[SweepRow]

    def errors(self, unit: str = "word") -> ErrorTable:
        """Errors in words, or with `char` in characters."""
        return ErrorTable(
            np.array([row[f"{unit}_errors"] for row in self.rows]),
            np.array(self.rows[0][f"{unit}s"]),
            self.rows[0]["speakers"],
        )

    def mean(self, key: str) -> Optional[float]:
        """The mean of a number of the rows, over those that have it."""
        values = [row[key] for row in self.rows if row.get(key) is not None]
        return sum(values) / len(values) if values else None

    def last_valid(self, key: str) -> Optional[float]:
        """The mean over the trainings of a figure at their last validation."""
        values = [row["valid"][-1][key] for row in self.rows if row["valid"] and key in row["valid"][-1]]
        return sum(values) / len(values) if values else None


def group_rows(plan: SweepPlan, rows: Iterable[SweepRow]) -> list[CellGroup]:
    """Groups in the plan's order of conditions, test sets and objectives."""
    found: dict[tuple[str, str, str], list[SweepRow]] = {}
    for row in rows:
        cell = cell_of(row)
        found.setdefault((cell.condition, row["test_set"], cell.objective), []).append(row)
    return [
        CellGroup(condition.name, objective, test_set, sorted(found[key], key=lambda row: cell_of(row).seed))
        for condition in plan.conditions.values()
        for test_set in condition.test_sets
        for objective in plan.objectives
        if (key := (condition.name, test_set, objective)) in found
    ]


def cell_of(row: SweepRow) -> Cell:
    """The cell that a row names, `CONDITION/OBJECTIVE/SEED`."""
    condition, objective, seed = row["cell"].rsplit("/", 2)
    return Cell(condition, objective, int(seed))
