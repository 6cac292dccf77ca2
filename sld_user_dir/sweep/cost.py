"""What a sweep will cost, told before it runs."""

from __future__ import annotations

from typing import Optional, Sequence

from sld_user_dir.sweep.cells import Cell
from sld_user_dir.sweep.plan_file import SweepPlan
from sld_user_dir.sweep.rows import SweepRow


def cost_lines(plan: SweepPlan, cells: Sequence[Cell], todo: Sequence[Cell], rows: Sequence[SweepRow]) -> list[str]:
    """The cells that are left, by condition, and their cost in hours of one core.

    A condition's cost is the mean of its cells on a CPU that are done, else what the plan states.
    """
    lines = [f"{len(cells)} cells, {len(cells) - len(todo)} done, {len(todo)} to run"]
    total, unknown = 0.0, []
    for condition in dict.fromkeys(cell.condition for cell in todo):
        left = [cell for cell in todo if cell.condition == condition]
        hours, source = _core_hours(plan, condition, rows)
        if hours is None:
            unknown.append(condition)
            lines.append(f"  {condition}: {len(left)} cells, cost unknown ({source})")
            continue
        total += hours * len(left)
        lines.append(f"  {condition}: {len(left)} cells of {hours:.2f} core hours ({source})")
    return [*lines, f"in all {total:.1f} CPU hours" + (f", without {', '.join(unknown)}" if unknown else "")]


def _core_hours(plan: SweepPlan, condition: str, rows: Sequence[SweepRow]) -> tuple[Optional[float], str]:
    done = {row["cell"]: row for row in rows if row["status"] == "done" and row["cell"].startswith(f"{condition}/")}
    seconds = [
        r["cpu_seconds"] for r in done.values() if r["cpu_seconds"] is not None and r["machine"].startswith("CPU")
    ]
    if seconds:
        return sum(seconds) / len(seconds) / 3600, f"mean of {len(seconds)} that ran"
    stated = plan.conditions[condition].core_hours
    return stated, "stated in the plan" if stated is not None else "run one, or state core_hours in the plan"
