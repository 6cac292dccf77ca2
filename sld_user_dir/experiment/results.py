"""Scores of an experiment: a list of plain dicts, a table, comparisons, and plots."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

from sld_user_dir.experiment.fairseq_commands import LOG_FILE, Plan, System, generate_command, shown, train_command
from sld_user_dir.experiment.training_log import Curves, read_curves
from sld_user_dir.files import atomic_path
from sld_user_dir.manifests.unit_manifest import Manifest, read_manifest
from sld_user_dir.scoring.hypotheses import DecodedUtterance, read_generate
from sld_user_dir.scoring.rates import Report, compare, score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ResultRow = dict[str, Any]
"""scores of a system on a test set, or a comparison of two systems there"""
COLUMNS: Sequence[tuple[str, str, int, Callable[[ResultRow], str]]] = (  # title, alignment, least width, cell
    ("criterion", "<", 18, lambda r: r["criterion"]),
    ("units", "<", 8, lambda r: r["units"]),
    ("test set", "<", 13, lambda r: r["test_set"]),
    ("WER %", ">", 8, lambda r: f"{r['wer']:.2f}"),
    ("95 % interval", ">", 16, lambda r: "{:.1f} to {:.1f}".format(*r["wer_interval_95"])),
    ("CER %", ">", 8, lambda r: f"{r['cer']:.2f}"),
    ("utterances", ">", 12, lambda r: str(r["utterances"])),
    ("decoding s", ">", 12, lambda r: f"{r['seconds']:.1f}"),
)
CURVES = (
    ("train", "text", "text, bits per token (training)"),
    ("valid", "text", "text, bits per token (validation)"),
    ("valid", "speech", "speech, bits per unit (validation)"),
    ("valid", "wer", "word error rate % (validation)"),
)


@dataclass(frozen=True)
class Evaluation:
    """What decoding gave, read and scored once; keys are (system, test set)."""

    manifests: Mapping[str, Manifest]
    records: Mapping[tuple[str, str], list[DecodedUtterance]]
    reports: Mapping[tuple[str, str], Report]


def kind_of_units(manifest: Manifest) -> str:
    """`mfcc`, `whisper-tiny.en`, …: the header's `features` by their last name, else the family of the encoder."""
    stated = manifest.header.get("features")
    if isinstance(stated, str) and stated.strip("/"):
        return stated.rstrip("/").rsplit("/", 1)[-1]
    return re.split("[-@:]", manifest.provenance.encoder)[0]


def evaluate(plan: Plan, systems: Sequence[System], worst: int = 3, by: Sequence[str] = ()) -> Evaluation:
    """Score every test set with every system; every utterance of a manifest must have been decoded.

    Args:
        worst: utterances of each that are kept aligned.
        by: columns of the manifests to break the rates down by.
    """
    manifests = {test_set: read_manifest(plan.data / f"{test_set}.tsv") for test_set in plan.test_sets}
    records = {
        (s.name, t): read_generate(plan.directory(s) / "decode" / f"generate-{t}.txt", manifest)
        for t, manifest in manifests.items()
        for s in systems
    }
    reports = {key: score(of_one, by=by, worst=worst) for key, of_one in records.items()}
    return Evaluation(manifests, records, reports)


def collect(
    plan: Plan, systems: Sequence[System], evaluation: Evaluation, decode_seconds: Mapping[tuple[str, str], float]
) -> list[ResultRow]:
    """One row for each system and test set, with the commands that made it."""
    rows = []
    curves_of = {system.name: read_curves(plan.directory(system) / LOG_FILE) for system in systems}
    for test_set, manifest in evaluation.manifests.items():
        for system in systems:
            curves = curves_of[system.name]
            report = evaluation.reports[system.name, test_set]
            rows.append(
                {
                    "criterion": system.name,
                    "description": system.description,
                    "test_set": test_set,
                    "wer": round(report["wer"]["rate"], 3),
                    "wer_interval_95": [round(x, 3) for x in report["wer"]["interval_95"]],
                    "cer": round(report["cer"]["rate"], 3),
                    "utterances": report["utterances"],
                    "words": report["wer"]["reference_length"],
                    "substitutions": report["wer"]["substitutions"],
                    "deletions": report["wer"]["deletions"],
                    "insertions": report["wer"]["insertions"],
                    "seconds": decode_seconds[system.name, test_set],
                    "train_seconds": curves.last("wall"),
                    "updates": curves.updates,
                    "seed": plan.train_options["seed"],
                    "units": kind_of_units(manifest),
                    "provenance": manifest.provenance.describe(),
                    "commands": [shown(train_command(plan, system)), shown(generate_command(plan, system, test_set))],
                    **plan.extra,
                }
            )
    return rows


def worst_utterances(evaluation: Evaluation, *prefix: str) -> dict[str, list[str]]:
    """Id and alignment of the worst utterances, by the names of system and test set, after those in `prefix`."""
    return {
        ", ".join((*prefix, *key)): [f"{one['id']}\n{one['alignment']}" for one in report["worst"]]
        for key, report in evaluation.reports.items()
    }


def write_json(path: Path, rows: Sequence[ResultRow]) -> None:
    """Write the rows as one JSON list, atomically."""
    with atomic_path(path) as aside:
        aside.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def format_table(rows: Sequence[ResultRow]) -> str:
    """The rows as a text table."""
    columns = []
    for title, alignment, width, cell in COLUMNS:
        texts = [title, *(cell(row) for row in rows)]
        width = max(width, 2 + max(map(len, texts)))
        columns.append([f"{text:{alignment}{width}}" for text in texts])
    head, *body = ("".join(texts) for texts in zip(*columns))
    return "\n".join([head, "-" * len(head), *body])


def comparisons(systems: Sequence[System], evaluation: Evaluation) -> list[ResultRow]:
    """Paired bootstrap of every other system against the first, by test set."""
    baseline, *others = (system.name for system in systems)
    return [
        {
            "criterion": other,
            "baseline": baseline,
            "units": kind_of_units(evaluation.manifests[test_set]),
            "test_set": test_set,
            **compare(evaluation.records[baseline, test_set], evaluation.records[other, test_set]),
        }
        for test_set in evaluation.manifests
        for other in others
    ]


def plot_curves(plan: Plan, systems: Sequence[System], path: Path) -> None:
    """Learning curves of all systems in one PNG."""
    save_curves({s.name: read_curves(plan.directory(s) / LOG_FILE) for s in systems}, path)


def save_curves(curves: Mapping[str, Curves], path: Path) -> None:
    """Learning curves of runs by name in one PNG."""
    figure = draw_curves(curves)
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=110, format="png")
    figure.clear()


def draw_curves(curves: Mapping[str, Curves]) -> Figure:
    """A panel a curve; a system has one colour in all of them, also where another lacks the curve."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    for axis, (kind, key, title) in zip(figure.subplots(2, 2, sharex=True).flat, CURVES):
        for number, (name, curve) in enumerate(curves.items()):
            _plot(axis, curve, kind, key, name, f"C{number}")
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=8)
    for axis in figure.axes[2:]:
        axis.set_xlabel("updates")
    return figure


def _plot(axis: Any, curve: Curves, kind: str, key: str, name: str, colour: str) -> None:
    points = [(p["num_updates"], p[key]) for p in getattr(curve, kind) if key in p]
    if points:
        axis.plot(*zip(*points), label=name, color=colour)
        if key == "wer":
            axis.set_ylim(0, 100)
