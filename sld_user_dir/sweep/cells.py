"""The cells of a sweep: one training each, as the plan and the system that the experiment runner knows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sld_user_dir.errors import InputError
from sld_user_dir.experiment.data_digest import data_digest, training_files
from sld_user_dir.experiment.fairseq_commands import Plan, System
from sld_user_dir.sweep.condition_data import data_directory
from sld_user_dir.sweep.plan_file import Condition, SweepPlan


@dataclass(frozen=True, order=True)
class Cell:
    """One training: a condition, an objective and a seed, by name."""

    condition: str
    objective: str
    seed: int

    @property
    def name(self) -> str:
        """`CONDITION/OBJECTIVE/SEED`, also its folder."""
        return f"{self.condition}/{self.objective}/{self.seed}"


def cells_of(plan: SweepPlan, only: str = "") -> list[Cell]:
    """The cells in the order in which they are worth having: all objectives of a seed before the next seed.

    Args:
        only: comma-separated beginnings of cell names; empty: all.

    Raises:
        InputError: `only` leaves none.
    """
    wanted = tuple(part.strip() for part in only.split(",") if part.strip())
    cells = dict.fromkeys(
        Cell(condition, objective, seed)
        for block in plan.blocks
        for condition in block.conditions
        for seed in block.seeds
        for objective in block.objectives
    )
    chosen = [cell for cell in cells if not wanted or f"{cell.name}/".startswith(wanted)]
    if not chosen:
        raise InputError(plan.path, f"no cell begins with {only!r}", "cells are CONDITION/OBJECTIVE/SEED")
    return chosen


def command_plan(plan: SweepPlan, cell: Cell, out: Path, threads: int) -> tuple[Plan, System]:
    """What the experiment runner trains and decodes for a cell; its data directory is made where it is a part."""
    condition = plan.conditions[cell.condition]
    objective = plan.objectives[cell.objective]
    options = {**train_options(plan, condition, objective), "seed": cell.seed}
    data = data_directory(condition, training_files(options), out)
    made = Plan(
        data=data,
        out=(out / cell.name).parent,
        test_sets=condition.test_sets,
        train_options={name: _filled(value, data) for name, value in options.items()},
        generate_options={**plan.generate, **condition.generate},
        threads=threads,
    )
    return made, System(str(cell.seed), objective.description, {})


def train_options(plan: SweepPlan, condition: Condition, objective: System) -> dict[str, Any]:
    """Options of fairseq-train: the plan's, then the condition's, then the objective's."""
    return {**plan.train, **condition.train, **objective.options}


def fingerprint(plan: SweepPlan, cell: Cell) -> str:
    """Hash of all that decides a cell's result: options, seed, and the bytes of its manifests and vocabulary."""
    condition = plan.conditions[cell.condition]
    digest = hashlib.sha256()
    options = train_options(plan, condition, plan.objectives[cell.objective])
    facts = [
        options,
        {**plan.generate, **condition.generate},
        [cell.seed, condition.train_utterances, list(condition.test_sets)],
    ]
    if condition.deduplicated is not None:  # the prints of rows from before there was such a key stay as they are
        facts.append({"deduplicated": condition.deduplicated})
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    names = (*training_files(options), *(f"{test_set}.tsv" for test_set in condition.test_sets))
    digest.update(data_digest(condition.data, names))
    return digest.hexdigest()[:16]


def _filled(value: Any, data: Path) -> Any:
    return value.replace("{data}", str(data)) if isinstance(value, str) else value
