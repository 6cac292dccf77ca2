"""One utterance a line, name first: textless-lib, GSLM, ESPnet."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import numpy as np

from sld_user_dir.interop.records import (
    IntArray,
    InteropError,
    UnitFile,
    UnitRecord,
    beside,
    check_name,
    joined,
    parse_units,
    read_lines,
    write_lines,
)
from sld_user_dir.interop.unit_format import NUMBERS, UnitFormat, every_line, register_format

CJK = 0x4E00
"""ESPnet's asr2 writes unit k as the character with this code + k"""
CJK_END = 0xD800
"""no characters from here on (surrogates)"""


# -- textless-lib: X.units, X.durations, X.f0s --------------------------------
def read_textless(path: Path) -> UnitFile:
    """`distributed_transcribe --preserve_name`: `name<TAB>71 12 57`, and the other streams beside, by name.

    Raises:
        InteropError: lines without names, whose order several workers have changed; streams that disagree.
    """
    durations, f0s = (_stream(beside(path, suffix)) for suffix in (".durations", ".f0s"))
    records = []
    for where, line in read_lines(path):
        name, tab, text = line.partition("\t")
        if not tab:
            raise InteropError(
                where,
                "no name before the units",
                "with several workers the order is not the manifest's: transcribe again with --preserve_name",
            )
        units = parse_units(text, where)
        frames = _of(durations, name, len(units), where)
        f0 = _of(f0s, name, len(units), where)
        fields = {} if f0 is None else {"f0": joined(f0)}
        records.append(UnitRecord(name, units, frames, None, fields, where))
    for stream in (durations, f0s):
        lost = sorted(set(stream or ()) - {r.id for r in records})
        if stream and lost:
            raise InteropError(f"{stream[lost[0]][0]}", f"{lost[0]!r} is not in {path}", "transcribe again")
    return UnitFile(records)


def _stream(path: Path) -> Optional[dict[str, tuple[str, IntArray]]]:
    if not path.exists():
        return None
    stream: dict[str, tuple[str, IntArray]] = {}
    for where, line in read_lines(path):
        name, _, text = line.partition("\t")
        if name in stream:
            raise InteropError(where, f"{name!r} again, first at {stream[name][0]}", "remove one")
        stream[name] = (where, parse_units(text, where, path.suffix[1:]))
    return stream


def _of(stream: Optional[dict[str, tuple[str, IntArray]]], name: str, count: int, where: str) -> Optional[IntArray]:
    if stream is None:
        return None
    if name not in stream:
        file = next(iter(stream.values()))[0].rpartition(":")[0] if stream else "the stream beside"
        raise InteropError(where, f"{name!r} is not in {file}", "transcribe again")
    other, values = stream[name]
    if len(values) != count:
        raise InteropError(where, f"{count} units of {name!r}, but {len(values)} values at {other}", "transcribe again")
    return values


def write_textless(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    """`X.units`, and `X.durations` and `X.f0s` where there are any; X is `path` without `.units`."""
    names = [check_name(r, "\t", "textless") for r in records]
    files = [write_lines(path, (f"{n}\t{joined(r.units)}" for n, r in zip(names, records)))]
    if records and all(r.durations is not None for r in records):
        lines = (f"{n}\t{joined(r.durations)}" for n, r in zip(names, records) if r.durations is not None)
        files.append(write_lines(beside(path, ".durations"), lines))
    if records and all("f0" in r.fields for r in records):
        lines = (f"{n}\t{r.fields['f0']}" for n, r in zip(names, records))
        files.append(write_lines(beside(path, ".f0s"), lines))
    return files


# -- GSLM: name|71 71 12 -------------------------------------------------------
def read_gslm(path: Path) -> UnitFile:
    """GSLM's `quantize_with_kmeans`; names can have lost trailing letters, which the join repairs."""
    records = []
    for where, line in read_lines(path):
        name, bar, text = line.rpartition("|")
        if not bar:
            raise InteropError(where, "no '|' between name and units", "see docs/interop.md")
        records.append(UnitRecord(name, parse_units(text, where), where=where))
    return UnitFile(records)


def write_gslm(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    return [write_lines(path, (f"{check_name(r, '|', 'gslm')}|{joined(r.units)}" for r in records))]


# -- ESPnet asr2: utt 12 12 34, or one character a unit --------------------------
def read_espnet(path: Path) -> UnitFile:
    """`utt 12 12 34`; files of `rm` are de-duplicated, of `ts` are not."""
    records = []
    for where, line in read_lines(path):
        name, _, text = line.partition(" ")
        records.append(UnitRecord(name, parse_units(text, where), where=where))
    return UnitFile(records, deduplicated=_espnet_case(path))


def write_espnet(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    return [write_lines(path, (f"{check_name(r, ' ', 'espnet')} {joined(r.units)}" for r in records))]


def read_espnet_cjk(path: Path) -> UnitFile:
    """`utt 丌丢`: the character with code 0x4e00 + unit for each unit."""
    records = []
    for where, line in read_lines(path):
        name, _, text = line.partition(" ")
        units = np.array([ord(c) - CJK for c in text], dtype=np.int32)
        if not len(units):
            raise InteropError(where, "no units", "remove the utterance")
        if units.min() < 0:
            raise InteropError(where, f"{text[int(units.argmin())]!r} stands for no unit", "is this text, not units?")
        records.append(UnitRecord(name, units, where=where))
    return UnitFile(records, deduplicated=_espnet_case(path))


def write_espnet_cjk(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    for r in records:
        if r.units.max() >= CJK_END - CJK:
            raise InteropError(r.where, f"no character for unit {r.units.max()}", "write the format espnet")
    lines = (f"{check_name(r, ' ', 'espnet-cjk')} {''.join(chr(CJK + u) for u in r.units.tolist())}" for r in records)
    return [write_lines(path, lines)]


def _espnet_case(path: Path) -> Optional[bool]:
    parts = path.name.split(".")
    return True if "rm" in parts else False if "ts" in parts else None


def _is_textless(path: Path, lines: list[str]) -> bool:
    named = every_line(rf"[^\t]+\t{NUMBERS}")(path, lines)
    return named or (path.suffix == ".units" and every_line(NUMBERS)(path, lines))


register_format(
    UnitFormat(
        name="textless",
        what="textless-lib `distributed_transcribe --preserve_name`",
        suffix=".units",
        read=read_textless,
        write=write_textless,
        looks_like=_is_textless,
        holds=frozenset({"durations", "f0"}),
    )
)
register_format(
    UnitFormat(
        name="gslm",
        what="GSLM quantize `name|71 71 12`",
        suffix=".txt",
        read=read_gslm,
        write=write_gslm,
        looks_like=every_line(rf".*\|{NUMBERS}"),
    )
)
register_format(
    UnitFormat(
        name="espnet",
        what="ESPnet asr2 `utt 12 12 34`",
        suffix="",
        read=read_espnet,
        write=write_espnet,
        looks_like=every_line(rf"(?=[^ \t|]*[^ \t|\d])[^ \t|]+ {NUMBERS}"),
    )
)
register_format(
    UnitFormat(
        name="espnet-cjk",
        what="ESPnet asr2, one character a unit",
        suffix="",
        read=read_espnet_cjk,
        write=write_espnet_cjk,
        looks_like=every_line(r"[^\s|]+ [\u4e00-\ud7ff]+"),
    )
)
