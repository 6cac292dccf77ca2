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
from sld_user_dir.interop.unit_format import NUMBERS, UnitFormat, lines_matching, register_format
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


register_format(
    UnitFormat(
        name="gslm",
        what="GSLM quantize `name|71 71 12`",
        suffix=".txt",
        read=read_gslm,
        write=write_gslm,
        looks_like=lines_matching(rf".*\|{NUMBERS}"),
        truncated_names=True,
    )
)
