"""A page as sections of prose, tables and figures, written as Markdown and as one self-contained HTML file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Sequence

from sld_user_dir.experiment.html_report import STYLE, embedded_figure
from sld_user_dir.experiment.markdown import table


@dataclass(frozen=True)
class Grid:
    """A table: titles, and cells as text."""

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A part of a page; `figures` are PNG files beside it."""

    title: str
    paragraphs: Sequence[str] = ()
    grids: Sequence[Grid] = ()
    figures: Sequence[Path] = field(default_factory=tuple)


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """The page as Markdown; figures are named relative to its folder."""
    parts = [f"# {title}"]
    for section in sections:
        parts += [f"## {section.title}", *section.paragraphs]
        parts += [table(grid.titles, grid.rows) for grid in section.grids]
        parts += [f"![{path.stem.replace('_', ' ')}]({path.name})" for path in section.figures]
    return "\n\n".join(parts) + "\n"


def to_html(title: str, sections: Sequence[Section]) -> str:
    """The page as HTML with its figures inside."""
    parts = [f"<!doctype html><meta charset='utf-8'><title>{escape(title)}</title><style>{STYLE}</style>"]
    parts.append(f"<h1>{escape(title)}</h1>")
    for section in sections:
        parts += [f"<h2>{escape(section.title)}</h2>", *(f"<p>{_inline(text)}</p>" for text in section.paragraphs)]
        parts += map(_table, section.grids)
        parts += map(embedded_figure, section.figures)
    return "\n".join(parts) + "\n"


def _table(grid: Grid) -> str:
    head = "".join(f"<th>{_inline(title)}</th>" for title in grid.titles)
    body = "".join("<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in grid.rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _inline(text: str) -> str:
    """Text with `code` and **bold**."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)
