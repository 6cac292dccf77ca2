"""GSLM's `quantize_with_kmeans`: `name|71 71 12`."""

from __future__ import annotations

from pathlib import Path

from sld_user_dir.interop.records import (
    InteropError,
    UnitFile,
    UnitRecord,
    check_name,
    numbered_lines,
    parse_units,
    write_lines,
)
from sld_user_dir.interop.unit_format import UnitFormat, lines_where, looks_like_units, register_format
from sld_user_dir.manifests.unit_text import format_numbers


def read_gslm(path: Path) -> UnitFile:
    """GSLM's `quantize_with_kmeans`; names can have lost trailing letters, which the join repairs."""
    records = []
    for where, line in numbered_lines(path):
        name, bar, text = line.rpartition("|")
        if not bar:
            raise InteropError(where, "no '|' between name and units", "see docs/interop.md")
        records.append(UnitRecord(name, parse_units(text, where), where=where))
    return UnitFile(records)


def write_gslm(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    """A name, a bar and units a line."""
    return [write_lines(path, (f"{check_name(r, '|', 'gslm')}|{format_numbers(r.units)}" for r in records))]


def _is_gslm(line: str) -> bool:
    _, bar, text = line.rpartition("|")
    return bool(bar) and looks_like_units(text) and "\t" not in text.rstrip()  # textless-lib's names can end in a bar


register_format(
    UnitFormat(
        name="gslm",
        what="GSLM quantize `name|71 71 12`",
        suffix=".txt",
        read=read_gslm,
        write=write_gslm,
        looks_like=lines_where(_is_gslm),
        truncated_names=True,
    )
)
