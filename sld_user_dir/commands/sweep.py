"""Objectives by seeds by data from one plan file: train, decode, score, and one report with error bars.

    sld sweep evidence/plan.yaml --dry-run            # the cells that are left, and what they cost
    sld sweep evidence/plan.yaml --jobs 2             # run them; a second call goes on
    sld sweep evidence/plan.yaml --only digits-mfcc/sld
    sld sweep evidence/plan.yaml --report             # the report again, from the rows that are there

Rows stand beside the plan in PLAN.rows.jsonl, the report in its folder, which holds that of one plan: RESULTS.md,
results.html, curves_*.png.
A cell that fails is tried again, then stands as failed in the report, and the exit status is 1.
"""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from simple_parsing import field

from sld_user_dir.sweep.cells import cells_of
from sld_user_dir.sweep.cost import cost_lines
from sld_user_dir.sweep.plan_file import read_plan
from sld_user_dir.sweep.results_page import refuse_another_report, write_results
from sld_user_dir.sweep.rows import read_rows, unfinished
from sld_user_dir.sweep.scheduler import SchedulerConfig, run_cells


@dataclass
class SweepConfig:
    """What to run."""

    plan: Path = field(positional=True)  # noqa: RUF009
    """the plan file"""
    out: Optional[Path] = None
    """where checkpoints, logs and hypotheses go (default: runs/sweep-PLAN)"""
    rows: Optional[Path] = None
    """file of rows (default: PLAN.rows.jsonl beside the plan)"""
    only: str = ""
    """comma-separated beginnings of cells, CONDITION/OBJECTIVE/SEED"""
    dry_run: bool = False
    """print the cells that are left and their cost, and run nothing"""
    report: bool = False
    """write the report from the rows that are there, and run nothing"""


CONFIGS = {"config": SweepConfig, "scheduler": SchedulerConfig}
SHOWS_PROGRESS = True


def run(options: Namespace) -> int:
    """Run the command."""
    config: SweepConfig = options.config
    plan = read_plan(config.plan)
    refuse_another_report(plan, config.plan.parent)
    rows = config.rows or config.plan.with_suffix(".rows.jsonl")
    out = config.out or Path("runs") / f"sweep-{config.plan.stem}"
    cells = cells_of(plan, config.only)
    known = read_rows(rows)
    todo = unfinished(plan, cells, known)
    if config.dry_run:
        print("\n".join(cost_lines(plan, cells, todo, known)))
        return 0
    failed = [] if config.report else run_cells(plan, todo, out.resolve(), rows, options.scheduler)
    for path in write_results(plan, read_rows(rows), config.plan.parent):
        print(path)
    for cell in failed:
        print(f"{cell.name} failed; RESULTS.md says why")
    return 1 if failed else 0
