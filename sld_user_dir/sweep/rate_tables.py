"""Error rates of the report and their comparisons, with both sources of chance."""

from __future__ import annotations

from typing import Sequence

from sld_user_dir.sweep.cell_groups import CellGroup
from sld_user_dir.sweep.figure_text import interval, p_value
from sld_user_dir.sweep.plan_file import SweepPlan
from sld_user_dir.sweep.sections import Grid, Section
from sld_user_dir.sweep.uncertainty import Estimate, difference, holm, mean_rate


def error_rates(groups: Sequence[CellGroup]) -> Section:
    """The section of error rates."""
    rows = []
    for group in groups:
        words, chars = mean_rate(group.errors()), mean_rate(group.errors("char"))
        rates = group.errors().rates
        rows.append(
            [
                f"`{group.condition}`",
                group.test_set,
                f"`{group.objective}`",
                str(len(group.rows)),
                f"{words.value:.2f}",
                interval(words),
                f"{rates.std(ddof=1):.2f}" if len(rates) > 1 else "",
                " ".join(f"{rate:.2f}" for rate in rates),
                f"{chars.value:.2f}",
            ]
        )
    text = [
        "The interval is 95 %, over trainings and speakers both (Student's t; `sweep/uncertainty.py` gives the "
        "formulas). Where there is one training, it is over speakers alone and set in brackets: it says nothing about "
        "another seed."
    ]
    titles = [
        "condition",
        "test set",
        "objective",
        "trainings",
        "WER %",
        "95 % interval",
        "deviation of trainings",
        "each training",
        "CER %",
    ]
    return Section("Error rates", text, [Grid(titles, rows)])


def comparisons(plan: SweepPlan, groups: Sequence[CellGroup]) -> Section:
    """The section of differences, with their tests."""
    by_key = {(g.condition, g.test_set, g.objective): g for g in groups}
    found: list[tuple[str, str, str, str, Estimate]] = []
    for condition, test_set in dict.fromkeys((g.condition, g.test_set) for g in groups):
        for contrast in plan.contrasts:
            one = by_key.get((condition, test_set, contrast.objective))
            base = by_key.get((condition, test_set, contrast.baseline))
            if one and base:
                estimate = difference(one.errors(), base.errors())
                found.append((condition, test_set, contrast.objective, contrast.baseline, estimate))
    tested = [number for number, one in enumerate(found) if one[4].p_value is not None]
    corrected = dict(zip(tested, holm([float(found[n][4].p_value or 0.0) for n in tested])))
    rows = [
        [
            f"`{condition}`",
            test_set,
            f"`{objective}` against `{baseline}`",
            f"{estimate.value:+.2f}",
            interval(estimate, "+"),
            p_value(estimate.p_value),
            p_value(corrected.get(number)),
        ]
        for number, (condition, test_set, objective, baseline, estimate) in enumerate(found)
    ]
    text = [
        "Differences of mean WER in points; below 0 the first has fewer errors. Both sources of chance count, "
        "trainings and speakers."
        + (
            f" The last column is corrected for {len(tested)} tests (Holm)."
            if tested
            else " None has trainings enough."
        )
    ]
    titles = ["condition", "test set", "comparison", "difference", "95 % interval", "p", "p, corrected"]
    return Section("Comparisons", text, [Grid(titles, rows)])
