"""ESPnet asr2: `utt 12 12 34`, or one character a unit, `utt 丌丢`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import numpy as np

from sld_user_dir.interop.records import (
    WHITE_SPACE,
    InteropError,
    UnitFile,
    UnitRecord,
    check_name,
    numbered_lines,
    parse_units,
    write_lines,
)
from sld_user_dir.interop.unit_format import UnitFormat, lines_where, looks_like_units, register_format
from sld_user_dir.manifests.keyed_lines import split_key
from sld_user_dir.manifests.unit_text import format_numbers

FIRST_CHARACTER = 0x4E00
"""Unit k is written as the character of this code + k."""
END_OF_CHARACTERS = 0xD800
"""No characters from here on (surrogates)."""


def read_espnet(path: Path) -> UnitFile:
    """`utt 12 12 34`; files of `rm` are de-duplicated, of `ts` are not."""
    records = []
    for where, line in numbered_lines(path):
        name, text = split_key(line)
        records.append(UnitRecord(name, parse_units(text, where), where=where))
    return UnitFile(records, deduplicated=_stated_by_name(path))


def write_espnet(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    """A name and units a line."""
    return [write_lines(path, (f"{check_name(r, WHITE_SPACE, 'espnet')} {format_numbers(r.units)}" for r in records))]


def read_espnet_cjk(path: Path) -> UnitFile:
    """`utt 丌丢`: the character with code 0x4e00 + unit for each unit."""
    records = []
    for where, line in numbered_lines(path):
        name, text = split_key(line)
        units = np.array([ord(c) - FIRST_CHARACTER for c in text], dtype=np.int32)
        if not len(units):
            raise InteropError(where, "no units", "remove the utterance")
        if units.min() < 0:
            raise InteropError(where, f"{text[int(units.argmin())]!r} stands for no unit", "is this text, not units?")
        records.append(UnitRecord(name, units, where=where))
    return UnitFile(records, deduplicated=_stated_by_name(path))


def write_espnet_cjk(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    """A name and one character for each unit a line."""
    for r in records:
        if r.units.max() >= END_OF_CHARACTERS - FIRST_CHARACTER:
            raise InteropError(r.where, f"no character for unit {r.units.max()}", "write the format espnet")
    lines = (
        f"{check_name(r, WHITE_SPACE, 'espnet-cjk')} {''.join(chr(FIRST_CHARACTER + u) for u in r.units.tolist())}"
        for r in records
    )
    return [write_lines(path, lines)]


def _stated_by_name(path: Path) -> Optional[bool]:
    """Whether units are de-duplicated, where the file's name tells it."""
    parts = path.name.split(".")
    return True if "rm" in parts else False if "ts" in parts else None


def _is_espnet(line: str) -> bool:
    """With a tab it is textless-lib's; units after a bar are GSLM's, and units alone have no name."""
    name, text = split_key(line)
    if "\t" in line or looks_like_units(line.rpartition("|")[2]):
        return False
    return bool(name) and looks_like_units(text)


def _is_espnet_cjk(line: str) -> bool:
    name, text = split_key(line)
    return bool(name and text) and all(FIRST_CHARACTER <= ord(c) < END_OF_CHARACTERS for c in text)


register_format(
    UnitFormat(
        name="espnet",
        what="ESPnet asr2 `utt 12 12 34`",
        suffix="",
        read=read_espnet,
        write=write_espnet,
        looks_like=lines_where(_is_espnet),
    )
)
register_format(
    UnitFormat(
        name="espnet-cjk",
        what="ESPnet asr2, one character a unit",
        suffix="",
        read=read_espnet_cjk,
        write=write_espnet_cjk,
        looks_like=lines_where(_is_espnet_cjk),
    )
)
