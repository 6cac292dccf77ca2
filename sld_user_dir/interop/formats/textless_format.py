"""textless-lib's streams by name: `X.units`, and `X.durations` and `X.f0s` beside."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from sld_user_dir.interop.records import (
    IntArray,
    InteropError,
    UnitFile,
    UnitRecord,
    beside,
    check_name,
    numbered_lines,
    parse_units,
    write_lines,
)
from sld_user_dir.interop.unit_format import UnitFormat, lines_where, looks_like_units, register_format
from sld_user_dir.manifests.unit_text import format_numbers


def read_textless(path: Path) -> UnitFile:
    """`distributed_transcribe --preserve_name`: `name<TAB>71 12 57`, and the other streams beside, by name.

    Raises:
        InteropError: lines without names, whose order several workers have changed; streams that disagree.
    """
    durations, f0s = (_stream(beside(path, suffix)) for suffix in (".durations", ".f0s"))
    records = []
    for where, line in numbered_lines(path):
        name, tab, text = line.partition("\t")
        if not tab and looks_like_units(line):
            raise InteropError(
                where,
                "no name before the units",
                "with several workers the order is not the manifest's: transcribe again with --preserve_name",
            )
        if not tab or not name:
            raise InteropError(where, f"{line[:40]!r} is not 'name<TAB>units'", "correct the line")
        units = parse_units(text, where)
        frames = _of(durations, name, len(units), where)
        f0 = _of(f0s, name, len(units), where)
        fields = {} if f0 is None else {"f0": format_numbers(f0)}
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
    for where, line in numbered_lines(path):
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
    files = [write_lines(path, (f"{n}\t{format_numbers(r.units)}" for n, r in zip(names, records)))]
    if records and all(r.durations is not None for r in records):
        lines = (f"{n}\t{format_numbers(r.durations)}" for n, r in zip(names, records) if r.durations is not None)
        files.append(write_lines(beside(path, ".durations"), lines))
    if records and all("f0" in r.fields for r in records):
        lines = (f"{n}\t{r.fields['f0']}" for n, r in zip(names, records))
        files.append(write_lines(beside(path, ".f0s"), lines))
    return files


def _is_textless(path: Path, lines: list[str]) -> int:
    nameless = lines_where(looks_like_units)(path, lines) if path.suffix == ".units" else 0
    return lines_where(_is_named)(path, lines) + nameless


def _is_named(line: str) -> bool:
    """Whether a line is `name<TAB>71 12 57`."""
    name, _, text = line.partition("\t")
    return bool(name) and looks_like_units(text)


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
