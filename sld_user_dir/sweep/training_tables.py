"""What the report says of the trainings themselves: what they predict, what they took, what made them."""

from __future__ import annotations

from typing import Sequence

from sld_user_dir.sweep.cell_groups import CellGroup
from sld_user_dir.sweep.figure_text import number
from sld_user_dir.sweep.sections import Grid, Section


def perplexities(groups: Sequence[CellGroup]) -> Section:
    """The section of what the models predict, without a search."""
    rows = []
    for group in first_test_sets(groups):
        bits, speech = group.last_valid("text"), group.last_valid("speech")
        rows.append(
            [
                f"`{group.condition}`",
                f"`{group.objective}`",
                number(bits, ".3f"),
                number(bits, ".2f", lambda b: 2**b),
                number(group.last_valid("text_accuracy"), ".1f"),
                number(speech, ".3f"),
                number(speech, ".1f", lambda b: 2**b),
            ]
        )
    titles = [
        "condition",
        "objective",
        "text, bits a token",
        "perplexity",
        "next token right, %",
        "speech, bits a unit",
        "perplexity",
    ]
    text = ["On `valid` with the last weights, the transcript before each token given, without CTC or search."]
    return Section("Text and speech perplexity", text, [Grid(titles, rows)])


def cost(groups: Sequence[CellGroup]) -> Section:
    """The section of times."""
    rows = []
    for group in first_test_sets(groups):
        machines = sorted({row["machine"] for row in group.rows})
        rows.append(
            [
                f"`{group.condition}`",
                f"`{group.objective}`",
                number(group.mean("updates"), ".0f"),
                number(group.mean("train_seconds"), ".0f"),
                number(group.mean("cpu_seconds"), ".0f"),
                number(group.mean("decode_seconds"), ".0f"),
                ", ".join(machines),
            ]
        )
    text = [
        "Means over the trainings that ran in one piece, validation included; several cells ran side by side, so wall "
        "seconds compare only within a condition and machine. Processor seconds include decoding."
    ]
    titles = ["condition", "objective", "updates", "training, s", "processor, s", "decoding, s", "machine"]
    return Section("Cost", text, [Grid(titles, rows)])


def provenance(groups: Sequence[CellGroup]) -> Section:
    """The section of rows: what made each."""
    rows = []
    for group in first_test_sets(groups):
        for row in group.rows:
            rows.append(
                [
                    f"`{row['cell']}`",
                    str(row["commit"] or ""),
                    row["sources"],
                    row["fingerprint"],
                    row["finished"],
                    row.get("remark", ""),
                ]
            )
    commands = [f"`{command}`" for group in groups[:1] for command in group.rows[0]["commands"]]
    text = [
        "Every cell again: `sld sweep PLAN --only CELL`. `sources` is a hash of the package's files, which a checkout "
        "of the commit has too; the fingerprint covers options, seed and data. The commands of the first row, from "
        "which the others differ by the options above:",
        *commands,
    ]
    return Section("Rows", text, [Grid(["cell", "commit", "sources", "fingerprint", "finished", "remark"], rows)])


def first_test_sets(groups: Sequence[CellGroup]) -> list[CellGroup]:
    """A group a condition and objective: what does not depend on the test set."""
    first: dict[tuple[str, str], CellGroup] = {}
    for group in groups:
        first.setdefault((group.condition, group.objective), group)
    return list(first.values())
