"""The report of a sweep, from its rows alone: tables with error bars, comparisons, breakdowns, cost, provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from sld_user_dir.errors import InputError
from sld_user_dir.files import atomic_path, read_text
from sld_user_dir.sweep.breakdowns import by_length, by_speaker
from sld_user_dir.sweep.cell_groups import group_rows
from sld_user_dir.sweep.cells import cells_of
from sld_user_dir.sweep.curve_bands import save_bands
from sld_user_dir.sweep.figure_text import one_line, option_list
from sld_user_dir.sweep.plan_file import SweepPlan
from sld_user_dir.sweep.rate_tables import comparisons, error_rates
from sld_user_dir.sweep.rows import SweepRow, current_rows, unfinished
from sld_user_dir.sweep.sections import Grid, Section, to_html, to_markdown
from sld_user_dir.sweep.training_tables import cost, perplexities, provenance

REPORT = "RESULTS.md"
REPORT_OF = "Made by `sld sweep {} --report`"
CURVES = "Mean over the trainings; the band goes from the least to the greatest."


def refuse_another_report(plan: SweepPlan, folder: Path) -> None:
    """Before anything runs: a folder holds the report of one plan.

    Raises:
        InputError: RESULTS.md there was made of another.
    """
    stands = folder / REPORT
    if stands.exists() and REPORT_OF.format(plan.path.name) not in read_text(stands):
        remedy = f"put {plan.path.name} into a folder of its own"
        raise InputError(stands, "the report of another plan, which this one's would take the place of", remedy)


def write_results(plan: SweepPlan, rows: Sequence[SweepRow], folder: Path) -> list[Path]:
    """Write RESULTS.md, results.html and the figures; returns what was written."""
    cells = cells_of(plan)
    current = current_rows(plan, cells, rows)
    groups = group_rows(plan, (row for row in current if row["status"] == "done"))
    figures = save_bands(plan, groups, folder)
    sections = [
        _state(plan, rows, current, len(cells), len(unfinished(plan, cells, rows))),
        error_rates(groups),
        comparisons(plan, groups),
        Section("Learning curves", [CURVES], (), figures),
        by_length(groups),
        by_speaker(groups),
        perplexities(groups),
        cost(groups),
        provenance(groups),
    ]
    written = []
    for name, text in ((REPORT, to_markdown(plan.title, sections)), ("results.html", to_html(plan.title, sections))):
        with atomic_path(folder / name) as aside:
            aside.write_text(text, encoding="utf-8")
        written.append(folder / name)
    return [*written, *figures]


def _state(plan: SweepPlan, rows: Sequence[SweepRow], current: Sequence[SweepRow], cells: int, open_: int) -> Section:
    failed = [row for row in current if row["status"] == "failed"]
    stale = len(rows) - len(current)
    text = [
        f"{REPORT_OF.format(plan.path.name)} from rows. Of {cells} trainings, {cells - open_} are done, "
        f"{len(failed)} failed, {open_ - len(failed)} have not run.",
        f"How it was tuned: {plan.tuning.strip()}",
    ]
    if stale:
        text.insert(1, f"**{stale} rows are left out**: they were made by other options or other data than the plan's.")
    objectives = [[f"`{one.name}`", one.description, option_list(one.options)] for one in plan.objectives.values()]
    conditions = [[f"`{one.name}`", one.description] for one in plan.conditions.values()]
    failures = [Grid(["failed", "its last words"], [[f"`{r['cell']}`", one_line(r["reason"])] for r in failed])]
    grids = [Grid(["objective", "what it is", "options"], objectives), Grid(["condition", "what it is"], conditions)]
    return Section("What is compared", text, [*grids, *(failures if failed else [])])
