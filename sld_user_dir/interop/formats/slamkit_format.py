"""slamkit's JSON lines: features `{"units": […], "duration": […], "file_name": …}` and tokens `<Un3><Un49>`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable

from sld_user_dir.interop.json_lines import (
    audio_name,
    durations_of,
    file_name_of,
    has_keys,
    id_beside,
    json_line,
    object_lines,
    other_fields,
    parse_object,
    require_keys,
    text_of,
)
from sld_user_dir.interop.records import (
    IntArray,
    InteropError,
    UnitFile,
    UnitRecord,
    audio_id,
    numbered_lines,
    unit_list,
    write_lines,
)
from sld_user_dir.interop.unit_format import UnitFormat, register_format

TOKENS = re.compile(r"(?:<Un\d+>)+")


def read_slamkit(path: Path) -> UnitFile:
    """`{"units": […], "duration": […], "file_name": …}`."""
    return UnitFile(_records(path, "units", unit_list))


def read_slamkit_tokens(path: Path) -> UnitFile:
    """`{"file_name": …, "audio_repr": "<Un3><Un49>"}`."""
    return UnitFile(_records(path, "audio_repr", _tokens))


def _tokens(value: object, where: str) -> IntArray:
    if not isinstance(value, str) or not TOKENS.fullmatch(value):
        raise InteropError(where, f"audio_repr is {str(value)[:40]!r}, expected <Un3><Un49>", "correct the line")
    return unit_list(" ".join(re.findall(r"\d+", value)), where)


def _records(path: Path, key: str, parse: Callable[[object, str], IntArray]) -> list[UnitRecord]:
    records = []
    for where, line in numbered_lines(path):
        item = parse_object(line, where)
        require_keys(item, ("file_name", key), where)
        units = parse(item[key], where)
        durations = durations_of(item.get("duration"), units, where)
        drop = {key, "duration", "file_name", "text", "id"}
        file_name = file_name_of(item, "file_name", where)
        fields = {**other_fields(item, drop), "audio": file_name}
        name = str(item.get("id", audio_id(file_name)))
        records.append(UnitRecord(name, units, durations, text_of(item), fields, where))
    return records


def _file_name(record: UnitRecord) -> dict[str, Any]:
    name = audio_name(record)
    return {"file_name": name, **id_beside(record, name)}


def write_slamkit(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    def item(r: UnitRecord) -> dict[str, Any]:
        durations = {} if r.durations is None else {"duration": r.durations.tolist()}
        return {"units": r.units.tolist(), **durations, **_file_name(r)}

    return [write_lines(path, (json_line(item(r)) for r in records))]


def write_slamkit_tokens(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    def item(r: UnitRecord) -> dict[str, Any]:
        return {**_file_name(r), "audio_repr": "".join(f"<Un{u}>" for u in r.units.tolist())}

    return [write_lines(path, (json_line(item(r)) for r in records))]


register_format(
    UnitFormat(
        name="slamkit",
        what="slamkit features",
        suffix=".jsonl",
        read=read_slamkit,
        write=write_slamkit,
        looks_like=object_lines(has_keys("units", "file_name")),
        holds=frozenset({"durations", "audio"}),
        deduplicated=True,
    )
)
register_format(
    UnitFormat(
        name="slamkit-tokens",
        what="slamkit tokens `<Un3><Un49>`",
        suffix=".jsonl",
        read=read_slamkit_tokens,
        write=write_slamkit_tokens,
        looks_like=object_lines(has_keys("audio_repr", "file_name")),
        holds=frozenset({"audio"}),
        deduplicated=True,
    )
)
