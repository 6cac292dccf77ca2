"""Learning curves of a sweep: a figure a condition, a line an objective, a band over its trainings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Sequence

import numpy as np

from sld_user_dir.files import atomic_path
from sld_user_dir.sweep.cell_groups import CellGroup
from sld_user_dir.sweep.plan_file import SweepPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = (("wer", "word error rate % (validation)"), ("text", "text, bits a token"), ("speech", "speech, bits a unit"))


def save_bands(plan: SweepPlan, groups: Sequence[CellGroup], folder: Path) -> list[Path]:
    """Write `curves_CONDITION.png` for each condition that has rows."""
    from matplotlib.figure import Figure

    written = []
    for condition in plan.conditions.values():
        of_condition = {g.objective: g for g in groups if g.condition == condition.name}
        if not of_condition:
            continue
        figure = Figure(figsize=(13, 4), layout="constrained")
        for axis, (key, title) in zip(figure.subplots(1, len(PANELS)), PANELS):
            for number, (objective, group) in enumerate(of_condition.items()):
                _band(axis, group, key, objective, f"C{number % 10}")
            axis.set_title(title, fontsize=10)
            axis.set_xlabel("updates")
            axis.grid(alpha=0.3)
        figure.axes[0].legend(fontsize=7)
        path = folder / f"curves_{condition.name}.png"
        with atomic_path(path) as aside:
            figure.savefig(aside, dpi=100, format="png")
        written.append(path)
    return written


def _band(axis: Axes, group: CellGroup, key: str, label: str, colour: str) -> None:
    """Mean, least and greatest over the trainings, at the updates at which all were validated."""
    curves = [{p["num_updates"]: p[key] for p in row["valid"] if key in p} for row in group.rows]
    updates = sorted(set.intersection(*map(set, curves)))
    if updates:
        values = np.array([[curve[n] for n in updates] for curve in curves])
        axis.plot(updates, values.mean(axis=0), color=colour, label=f"{label} ({len(curves)})")
        axis.fill_between(updates, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, linewidth=0)
