"""The paper's authors' JSON lines: `{"text": …, "idx": […], "subword": …, "subword_idx": […]}`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sld_user_dir.files import parse_json
from sld_user_dir.interop.json_lines import has_keys, json_line, object_lines, other_fields, parse_object
from sld_user_dir.interop.records import (
    IntArray,
    InteropError,
    UnitFile,
    UnitRecord,
    numbered_lines,
    unit_list,
    write_lines,
)
from sld_user_dir.interop.unit_format import UnitFormat, register_format

SUBWORD_BASE = 256
"""A unit is spelt as the character of this code + unit."""
WORD_START = "\u2581"
"""SentencePiece's mark."""


def read_authors(path: Path) -> UnitFile:
    """`{"text": …, "idx": […], "subword": …, "subword_idx": […]}`: no names, but text and units on one line."""
    records = []
    for number, (where, line) in enumerate(numbered_lines(path), 1):
        item = parse_object(line, where)
        if "idx" not in item or not isinstance(item.get("text"), str):
            raise InteropError(where, f"wanted keys `text` and `idx`, found {sorted(item)}", "is it of another format?")
        units = unit_list(item["idx"], where)
        _check_subword(item, units, where)
        name = str(item.get("id", f"{path.stem}-{number:06d}"))
        fields = other_fields(item, {"id", "text", "idx"})
        records.append(UnitRecord(name, units, None, item["text"], fields, where))
    return UnitFile(records)


def _check_subword(item: dict[str, Any], units: IntArray, where: str) -> None:
    """The subwords are spelt with the character of code 256 + unit for each unit."""
    subword = item.get("subword")
    if not isinstance(subword, str):
        return
    spelt = [ord(c) - SUBWORD_BASE for c in subword if c != WORD_START and not c.isspace()]
    if ord(WORD_START) - SUBWORD_BASE not in units.tolist() and spelt != units.tolist():
        raise InteropError(
            where,
            f"`subword` spells {len(spelt)} units, `idx` has {len(units)}, and they differ",
            "make the line again",
        )


def write_authors(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    """Their keys, and `id` beside, which their program does not look at."""

    def item(r: UnitRecord) -> dict[str, Any]:
        if r.text is None:
            raise InteropError(r.where, "no transcript, which this format wants", "write another format")
        rest = {k: v for k, v in r.fields.items() if k == "subword"}
        if "subword_idx" in r.fields:
            rest["subword_idx"] = parse_json(r.fields["subword_idx"])
        return {"text": r.text, "idx": r.units.tolist(), **rest, "id": r.id}

    return [write_lines(path, (json_line(item(r)) for r in records))]


register_format(
    UnitFormat(
        name="authors",
        what="the paper's authors' JSON lines",
        suffix=".json",
        read=read_authors,
        write=write_authors,
        looks_like=object_lines(has_keys("text", "idx")),
        holds=frozenset({"text", "subword", "subword_idx"}),
        deduplicated=False,
    )
)
