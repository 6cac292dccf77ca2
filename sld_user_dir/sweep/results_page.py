"""The report of a sweep, from its rows alone: tables with error bars, comparisons, breakdowns, cost, provenance."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Callable, Optional, Sequence

import numpy as np

from sld_user_dir.files import atomic_path
from sld_user_dir.scoring.rates import LENGTH_BUCKETS
from sld_user_dir.sweep.cell_groups import CellGroup, group_rows
from sld_user_dir.sweep.cells import cells_of
from sld_user_dir.sweep.curve_bands import save_bands
from sld_user_dir.sweep.plan_file import SweepPlan
from sld_user_dir.sweep.rows import SweepRow, current_rows, unfinished
from sld_user_dir.sweep.sections import Grid, Section, to_html, to_markdown
from sld_user_dir.sweep.uncertainty import Estimate, difference, holm, mean_rate

MOST_SPEAKERS = 12
"""Test sets of more speakers are not broken down by speaker in the report: the rows hold them all."""


def write_results(plan: SweepPlan, rows: Sequence[SweepRow], folder: Path) -> list[Path]:
    """Write RESULTS.md, results.html and the figures; returns what was written."""
    cells = cells_of(plan)
    current = current_rows(plan, cells, rows)
    groups = group_rows(plan, (row for row in current if row["status"] == "done"))
    figures = save_bands(plan, groups, folder)
    sections = [
        _state(plan, rows, current, len(cells), len(unfinished(plan, cells, rows))),
        _rates(plan, groups),
        _comparisons(plan, groups),
        Section("Learning curves", ["Mean over the trainings; the band goes from the least to the greatest."], (),
                figures),
        _by_length(groups),
        _by_speaker(groups),
        _perplexities(groups),
        _cost(groups),
        _provenance(plan, groups),
    ]  # fmt: skip
    written = []
    for name, text in (
        ("RESULTS.md", to_markdown(plan.title, sections)),
        ("results.html", to_html(plan.title, sections)),
    ):
        with atomic_path(folder / name) as aside:
            aside.write_text(text, encoding="utf-8")
        written.append(folder / name)
    return [*written, *figures]


def _state(plan: SweepPlan, rows: Sequence[SweepRow], current: Sequence[SweepRow], cells: int, open_: int) -> Section:
    failed = [row for row in current if row["status"] == "failed"]
    stale = len(rows) - len(current)
    text = [
        f"Made by `sld sweep {plan.path.name} --report` from rows. Of {cells} trainings, {cells - open_} are done, "
        f"{len(failed)} failed, {open_ - len(failed)} have not run.",
        f"How it was tuned: {plan.tuning.strip()}",
    ]
    if stale:
        text.insert(1, f"**{stale} rows are left out**: they were made by other options or other data than the plan's.")
    objectives = [[f"`{one.name}`", one.description, _options(one.options)] for one in plan.objectives.values()]
    conditions = [[f"`{one.name}`", one.description] for one in plan.conditions.values()]
    failures = [Grid(["failed", "its last words"], [[f"`{r['cell']}`", _one_line(r["reason"])] for r in failed])]
    grids = [Grid(["objective", "what it is", "options"], objectives), Grid(["condition", "what it is"], conditions)]
    return Section("What is compared", text, [*grids, *(failures if failed else [])])


def _rates(plan: SweepPlan, groups: Sequence[CellGroup]) -> Section:
    rows = []
    for group in groups:
        words, chars = mean_rate(group.errors()), mean_rate(group.errors("char"))
        rates = group.errors().rates
        rows.append([
            f"`{group.condition}`", group.test_set, f"`{group.objective}`", str(len(group.rows)), f"{words.value:.2f}",
            _interval(words), f"{rates.std(ddof=1):.2f}" if len(rates) > 1 else "",
            " ".join(f"{rate:.2f}" for rate in rates), f"{chars.value:.2f}",
        ])  # fmt: skip
    text = [
        "The interval is 95 %, over trainings and speakers both (Student's t; `sweep/uncertainty.py` gives the "
        "formulas). Where there is one training, it is over speakers alone and set in brackets: it says nothing about "
        "another seed."
    ]
    titles = ["condition", "test set", "objective", "trainings", "WER %", "95 % interval", "deviation of trainings",
              "each training", "CER %"]  # fmt: skip
    return Section("Error rates", text, [Grid(titles, rows)])


def _comparisons(plan: SweepPlan, groups: Sequence[CellGroup]) -> Section:
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
        [f"`{condition}`", test_set, f"`{objective}` against `{baseline}`", f"{estimate.value:+.2f}",
         _interval(estimate, "+"), _p(estimate.p_value), _p(corrected.get(number))]
        for number, (condition, test_set, objective, baseline, estimate) in enumerate(found)
    ]  # fmt: skip
    text = [
        "Differences of mean WER in points; below 0 the first has fewer errors. Both sources of chance count, "
        f"trainings and speakers. The last column is corrected for {len(tested)} tests (Holm)."
    ]
    titles = ["condition", "test set", "comparison", "difference", "95 % interval", "p", "p, corrected"]
    return Section("Comparisons", text, [Grid(titles, rows)])


def _by_length(groups: Sequence[CellGroup]) -> Section:
    bounds = [0, *LENGTH_BUCKETS, 10**9]
    named = [f"{low + 1} to {high}" if high < 10**9 else f"over {low}" for low, high in itertools.pairwise(bounds)]

    def cells(group: CellGroup) -> list[str]:
        table = group.errors()
        inside = [(table.lengths > low) & (table.lengths <= high) for low, high in itertools.pairwise(bounds)]
        return [_share(table.errors[:, mask].mean(axis=0).sum(), table.lengths[mask].sum()) for mask in inside]

    return Section("Word error rate by length of the reference, in words", (), [_breakdown(groups, named, cells)])


def _by_speaker(groups: Sequence[CellGroup]) -> Section:
    grids = []
    text = ["Where a test set has more speakers than a table holds: the quartiles of the speakers' word error rates."]
    many = [g for g in groups if len(set(g.rows[0]["speakers"])) > MOST_SPEAKERS]
    if many:
        named = ["speakers", "lowest", "lower quartile", "median", "upper quartile", "highest"]
        grids.append(_breakdown(many, named, _quartiles))
    for key in dict.fromkeys((g.condition, g.test_set) for g in groups if g not in many):
        few = [g for g in groups if (g.condition, g.test_set) == key]
        speakers = sorted(set(few[0].rows[0]["speakers"]))
        if len(speakers) > 1:
            grids.append(_breakdown(few, speakers, lambda g: [f"{rate:.1f}" for rate in _speaker_rates(g)]))
    return Section("Word error rate by speaker", text, grids)


def _quartiles(group: CellGroup) -> list[str]:
    rates = _speaker_rates(group)
    return [str(len(rates)), *(f"{value:.1f}" for value in np.percentile(rates, [0, 25, 50, 75, 100]))]


def _speaker_rates(group: CellGroup) -> list[float]:
    table = group.errors()
    labels = np.unique(np.asarray(table.blocks), return_inverse=True)[1]
    errors = np.bincount(labels, weights=table.errors.mean(axis=0))
    return (100.0 * errors / np.bincount(labels, weights=table.lengths)).tolist()


def _perplexities(groups: Sequence[CellGroup]) -> Section:
    rows = []
    for group in _first_test_sets(groups):
        bits, speech = group.last_valid("text"), group.last_valid("speech")
        rows.append([
            f"`{group.condition}`", f"`{group.objective}`", _number(bits, ".3f"), _number(bits, ".2f", lambda b: 2**b),
            _number(group.last_valid("text_accuracy"), ".1f"), _number(speech, ".3f"),
            _number(speech, ".1f", lambda b: 2**b),
        ])  # fmt: skip
    titles = ["condition", "objective", "text, bits a token", "perplexity", "next token right, %",
              "speech, bits a unit", "perplexity"]  # fmt: skip
    text = ["On `valid` with the last weights, the transcript before each token given, without CTC or search."]
    return Section("Text and speech perplexity", text, [Grid(titles, rows)])


def _cost(groups: Sequence[CellGroup]) -> Section:
    rows = []
    for group in _first_test_sets(groups):
        machines = sorted({row["machine"] for row in group.rows})
        rows.append([
            f"`{group.condition}`", f"`{group.objective}`", _number(group.mean("updates"), ".0f"),
            _number(group.mean("train_seconds"), ".0f"), _number(group.mean("cpu_seconds"), ".0f"),
            _number(group.mean("decode_seconds"), ".0f"), ", ".join(machines),
        ])  # fmt: skip
    text = [
        "Means over the trainings that ran in one piece, validation included; several cells ran side by side, so wall "
        "seconds compare only within a condition and machine. Processor seconds include decoding."
    ]
    titles = ["condition", "objective", "updates", "training, s", "processor, s", "decoding, s", "machine"]
    return Section("Cost", text, [Grid(titles, rows)])


def _provenance(plan: SweepPlan, groups: Sequence[CellGroup]) -> Section:
    rows = []
    for group in _first_test_sets(groups):
        for row in group.rows:
            rows.append([f"`{row['cell']}`", str(row["commit"] or ""), row["sources"], row["fingerprint"],
                         row["finished"]])  # fmt: skip
    commands = [f"`{command}`" for group in groups[:1] for command in group.rows[0]["commands"]]
    text = [
        "Every cell again: `sld sweep PLAN --only CELL`. `sources` is a hash of the package's files, which a checkout "
        "of the commit has too; the fingerprint covers options, seed and data. The commands of the first row, from "
        "which the others differ by the options above:",
        *commands,
    ]
    return Section("Rows", text, [Grid(["cell", "commit", "sources", "fingerprint", "finished"], rows)])


def _first_test_sets(groups: Sequence[CellGroup]) -> list[CellGroup]:
    """A group a condition and objective: what does not depend on the test set."""
    first: dict[tuple[str, str], CellGroup] = {}
    for group in groups:
        first.setdefault((group.condition, group.objective), group)
    return list(first.values())


def _breakdown(groups: Sequence[CellGroup], names: Sequence[str], cells: Callable[[CellGroup], list[str]]) -> Grid:
    rows = [[f"`{g.condition}`", g.test_set, f"`{g.objective}`", *cells(g)] for g in groups]
    return Grid(["condition", "test set", "objective", *names], rows)


def _interval(estimate: Estimate, sign: str = "") -> str:
    if estimate.interval is None:
        half = 1.96 * estimate.utterance_error
        return f"({estimate.value - half:{sign}.2f} to {estimate.value + half:{sign}.2f})"
    return f"{estimate.interval[0]:{sign}.2f} to {estimate.interval[1]:{sign}.2f}"


def _p(value: Optional[float]) -> str:
    return "one training" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _share(errors: float, words: float) -> str:
    return f"{100.0 * errors / words:.1f}" if words else ""


def _number(value: Optional[float], form: str, change: Callable[[float], float] = float) -> str:
    return "" if value is None else f"{change(value):{form}}"


def _options(options: object) -> str:
    return ", ".join(f"`{k}={v}`" for k, v in options.items()) if isinstance(options, dict) else ""


def _one_line(text: str) -> str:
    return text.strip().split("\n")[-1][:300]
