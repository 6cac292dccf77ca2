"""The plan of a sweep: a YAML file that says what is compared, on what, how often, and how it was tuned.

    title: Is loss masking needed?
    tuning: what was tuned, on which set, with which budget, before the test sets were opened
    train: {arch: joint_lm_tiny, ...}              # options of fairseq-train for all cells, as `--arch joint_lm_tiny`
    generate: {beam: 5}                            # options of fairseq-generate
    conditions:
      digits-whisper:
        description: connected digits, units of Whisper
        data: ../manifests/digits-whisper          # from the folder of the plan
        test_sets: [test, test_unseen]
        train: {max_update: 1500, init_unit_embeddings: "{data}/kmeans.npz"}
    objectives:
      masked_ce: {description: text only, options: {criterion: masked_ce}}
      sld: {description: the paper's, options: {criterion: sld}}
    cells:
      - {conditions: [digits-whisper], objectives: [masked_ce, sld], seeds: [1, 2, 3]}
    comparisons:
      - {objective: sld, baseline: masked_ce}

True is a bare flag, null leaves an option out; options of a condition come before those of the plan, those of an
objective before both. In a condition, `train_utterances` trains on the first so many lines of its manifest, and
`deduplicated` takes its manifests with runs of a unit collapsed (true) or written out, a unit a frame (false).
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

import yaml

from sld_user_dir.errors import InputError, reason_of
from sld_user_dir.experiment.fairseq_commands import System
from sld_user_dir.files import read_text


@dataclass(frozen=True)
class Condition:
    """What is trained and tested on.

    Attributes:
        data: data directory.
        train_utterances: how many of the training manifest's utterances are used, from its start; None: all.
        deduplicated: whether runs of a unit are collapsed in all manifests; None: as the manifests have it.
        core_hours: what a cell is known to take, in hours of one core; for the cost that is told beforehand.
    """

    name: str
    description: str
    data: Path
    test_sets: Sequence[str]
    train: Mapping[str, Any] = field(default_factory=dict)
    generate: Mapping[str, Any] = field(default_factory=dict)
    train_utterances: Optional[int] = None
    deduplicated: Optional[bool] = None
    core_hours: Optional[float] = None


@dataclass(frozen=True)
class Contrast:
    """Two objectives that the report compares in every condition."""

    objective: str
    baseline: str


@dataclass(frozen=True)
class CellBlock:
    """Every one of these conditions with every one of these objectives and seeds."""

    conditions: Sequence[str]
    objectives: Sequence[str]
    seeds: Sequence[int]


@dataclass(frozen=True)
class SweepPlan:
    """A plan file, checked."""

    path: Path
    title: str
    tuning: str
    train: Mapping[str, Any]
    generate: Mapping[str, Any]
    conditions: Mapping[str, Condition]
    objectives: Mapping[str, System]
    blocks: Sequence[CellBlock]
    contrasts: Sequence[Contrast]


def read_plan(path: Path) -> SweepPlan:
    """Read a plan file.

    Raises:
        InputError: no such file, no YAML, an unknown or missing key, or a name that the plan does not define.
    """
    text = read_text(path)
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none; nested too deep
        raise InputError(path, f"no YAML ({reason_of(error)})", "docs/evidence.md shows a plan") from error
    top = _Table(path, "the plan", content)
    conditions = {name: _condition(path, name, one) for name, one in top.tables("conditions")}
    objectives = {
        name: System(name, one.take("description", str), one.take("options", dict))
        for name, one in top.tables("objectives")
    }
    blocks = [
        CellBlock(one.take("conditions", list), one.take("objectives", list), one.take("seeds", list))
        for one in top.list_of_tables("cells")
    ]
    contrasts = [
        Contrast(one.take("objective", str), one.take("baseline", str)) for one in top.list_of_tables("comparisons")
    ]
    plan = SweepPlan(
        path,
        top.take("title", str),
        top.take("tuning", str),
        top.take("train", dict),
        top.take("generate", dict, {}),
        conditions,
        objectives,
        blocks,
        contrasts,
    )
    top.close()
    _check_names(plan)
    return plan


def _condition(path: Path, name: str, table: _Table) -> Condition:
    return Condition(
        name=name,
        description=table.take("description", str),
        data=(path.parent / table.take("data", str)).resolve(),
        test_sets=table.take("test_sets", list),
        train=table.take("train", dict, {}),
        generate=table.take("generate", dict, {}),
        train_utterances=table.take("train_utterances", int, None),
        deduplicated=table.take("deduplicated", bool, None),
        core_hours=table.take("core_hours", (int, float), None),
    )


def _check_names(plan: SweepPlan) -> None:
    used: list[tuple[str, str, Mapping[str, Any]]] = []
    used += [("condition", name, plan.conditions) for block in plan.blocks for name in block.conditions]
    used += [("objective", name, plan.objectives) for block in plan.blocks for name in block.objectives]
    used += [("objective", n, plan.objectives) for one in plan.contrasts for n in (one.objective, one.baseline)]
    for kind, name, known in used:
        if name not in known:
            raise InputError(plan.path, f"no {kind} {name!r} is defined", f"define it, or take {', '.join(known)}")
    for block in plan.blocks:
        for seed in block.seeds:
            if not isinstance(seed, int):
                raise InputError(plan.path, f"seed {seed!r} is no whole number", "write seeds: [1, 2, 3]")


class _Table:
    """A mapping of the file whose keys are taken one by one, so that what is missing or left over is named."""

    def __init__(self, path: Path, what: str, content: Any) -> None:
        if not isinstance(content, dict):
            raise InputError(path, f"{what} is no mapping of keys to values", "docs/evidence.md shows a plan")
        self.path, self.what, self.content = path, what, dict(content)
        self.below: list[_Table] = []

    def take(self, key: str, kind: Any, *default: Any) -> Any:
        """The value of a key, of that type."""
        if key not in self.content:
            if default:
                return default[0]
            raise InputError(self.path, f"{self.what} lacks {key!r}", "docs/evidence.md shows a plan")
        value = self.content.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InputError(
                self.path, f"{key!r} of {self.what} is {reprlib.repr(value)}", "docs/evidence.md shows a plan"
            )
        return value

    def tables(self, key: str) -> list[tuple[str, _Table]]:
        """The mappings under a key, by name; what they leave over is an error when the last is read."""
        named = [(str(name), _Table(self.path, f"{key} {name}", one)) for name, one in self.take(key, dict).items()]
        self.below += [table for _, table in named]
        return named

    def list_of_tables(self, key: str) -> list[_Table]:
        """The mappings of a list under a key."""
        tables = [_Table(self.path, f"entry {n} of {key}", one) for n, one in enumerate(self.take(key, list), start=1)]
        self.below += tables
        return tables

    def close(self) -> None:
        """Every key must have been taken, here and in all tables below."""
        for table in [self, *self.below]:
            if table.content:
                unknown = next(iter(table.content))
                raise InputError(self.path, f"{table.what} has an unknown key {unknown!r}", "check its spelling")
