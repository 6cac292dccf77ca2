"""The report of an experiment as one self-contained HTML page."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Iterable, Mapping, Sequence

from sld_user_dir.experiment.results import COLUMNS, ResultRow
from sld_user_dir.files import atomic_path

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .3rem .8rem; border-bottom: 1px solid #ddd; }
td + td + td + td, th + th + th + th { text-align: right; } tr.best td { font-weight: 600; background: #eef6ee; }
pre { background: #f6f6f6; padding: .6rem; overflow-x: auto; font-size: 13px; } img { max-width: 100%; }
"""


def write_html(
    path: Path,
    title: str,
    introduction: Sequence[str],
    rows: Sequence[ResultRow],
    comparisons: Sequence[ResultRow],
    worst: Mapping[str, Sequence[str]],
    figures: Iterable[Path],
) -> None:
    """Write the page.

    Args:
        introduction: paragraphs of plain text.
        rows: results of ``collect``; comparisons: those of ``comparisons``.
        worst: aligned utterances (text) under the name of their system and test set.
        figures: PNG files, which are embedded.
    """
    parts = [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(p)}</p>" for p in introduction)]
    parts += ["<h2>Word error rates</h2>", _table(rows), _sentences(comparisons)]
    parts += ["<h2>Learning curves</h2>", *map(embedded_figure, figures)]
    parts += ["<h2>Where the errors are</h2>"]
    for name, utterances in worst.items():
        parts += [f"<h3>{escape(name)}</h3>", *(f"<pre>{escape(u)}</pre>" for u in utterances)]
    commands = dict.fromkeys(command for row in rows for command in row["commands"])
    parts += ["<h2>Commands</h2>", *(f"<pre>{escape(c)}</pre>" for c in commands)]
    page = f"<!doctype html><meta charset='utf-8'><title>{escape(title)}</title><style>{STYLE}</style>"
    with atomic_path(path) as aside:
        aside.write_text(page + "\n".join(parts) + "\n", encoding="utf-8")


def _table(rows: Sequence[ResultRow]) -> str:
    best = {t: min(r["wer"] for r in rows if r["test_set"] == t) for t in {r["test_set"] for r in rows}}
    head = "".join(f"<th>{escape(title)}</th>" for title, _, _, _ in COLUMNS)
    body = "".join(
        f"<tr class='{'best' if row['wer'] == best[row['test_set']] else ''}'>"
        + "".join(f"<td>{escape(cell(row))}</td>" for _, _, _, cell in COLUMNS)
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _sentences(comparisons: Sequence[ResultRow]) -> str:
    items = "".join(
        "<li>{units}: {criterion} against {baseline} on {test_set}: WER {rate_a:.2f} to {rate_b:.2f}, difference "
        "{difference:+.2f} (95 % interval {low:+.2f} to {high:+.2f})</li>".format(
            low=c["interval"][0], high=c["interval"][1], **c
        )
        for c in comparisons
    )
    return f"<p>Paired bootstrap over utterances:</p><ul>{items}</ul>" if items else ""


def embedded_figure(path: Path) -> str:
    """A PNG file as an image of the page itself."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{escape(path.stem)}' src='data:image/png;base64,{data}'>"
