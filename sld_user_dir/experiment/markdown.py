"""Parts of a model card's Markdown: tables and code."""

from __future__ import annotations

import json
from typing import Any, Iterable, Mapping, Sequence


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; a `|` in a cell is text."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines)


def options_table(options: Mapping[str, Any]) -> str:
    """Names and values; a value that is no string is written as JSON."""
    return table(["option", "value"], [[f"`{k}`", f"`{_plain(v)}`"] for k, v in options.items()])


def code_block(language: str, lines: Sequence[str]) -> str:
    """A fenced block."""
    return "\n".join([f"```{language}", *lines, "```"])


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
