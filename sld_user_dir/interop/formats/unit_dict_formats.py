"""GSLM's, pGSLM's and speech-resynthesis' lines: an object with `audio` and the units under the encoder's key.

GSLM writes JSON, speech-resynthesis the notation of a Python dict.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Optional

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
    text_of,
)
from sld_user_dir.interop.records import (
    InteropError,
    UnitFile,
    UnitRecord,
    audio_id,
    numbered_lines,
    unit_list,
    write_lines,
)
from sld_user_dir.interop.unit_format import UnitFormat, register_format
from sld_user_dir.manifests.unit_text import format_numbers

UNIT_KEYS = ("units", "hubert", "vqvae256", "codes")
KMEANS_KEY = re.compile(r".+_km(\d{1,9})$")
HELD_COLUMNS = frozenset({"durations", "text", "audio", "speaker", "duration"})


def unit_key(item: dict[str, Any]) -> Optional[str]:
    """The key that holds the units: `hubert_km100`, `hubert`, `codes`, …; None where there is not exactly one."""
    keys = [k for k in item if k in UNIT_KEYS or KMEANS_KEY.match(str(k))]
    return keys[0] if len(keys) == 1 else None


def read_dicts(path: Path) -> UnitFile:
    """`{"audio": …, "hubert_km100": "71 71", …}`, in JSON or in Python's notation.

    Raises:
        InteropError: units under two keys, which stand for two encoders.
    """
    records: list[UnitRecord] = []
    first: Optional[tuple[str, str]] = None
    for where, line in numbered_lines(path):
        item = parse_object(line, where)
        key = unit_key(item)
        if key is None or "audio" not in item:
            raise InteropError(
                where,
                f"wanted `audio` and one of {', '.join(UNIT_KEYS)} or …_km100 among its keys, found {sorted(item)}",
                "is it of another format?",
            )
        first = first or (key, where)
        if key != first[0]:
            raise InteropError(
                where,
                f"units of {key}, but of {first[0]} at {first[1]}",
                "units of two encoders do not mix: split the file",
            )
        units = unit_list(item[key], where)
        stream = "durations" if "durations" in item else "duration"
        durations = durations_of(item.get(stream), units, where)
        drop = {key, "id", "text"} | ({stream} if durations is not None else set())
        name = str(item.get("id", audio_id(file_name_of(item, "audio", where))))
        records.append(UnitRecord(name, units, durations, text_of(item), other_fields(item, drop), where))
    size = KMEANS_KEY.match(first[0]) if first else None
    return UnitFile(records, int(size[1]) if size else None, header={"unit_key": first[0]} if first else {})


def _item(record: UnitRecord, header: dict[str, object]) -> dict[str, Any]:
    name = audio_name(record)
    item: dict[str, Any] = {"audio": name, **_with_seconds(record.fields)}
    item.pop("path", None)
    item.update(id_beside(record, name))
    if record.durations is not None:
        item["durations"] = record.durations.tolist()  # `duration` is the recording's, in seconds
    item[str(header.get("unit_key", "hubert"))] = format_numbers(record.units)
    return item if record.text is None else {**item, "text": record.text}


def _with_seconds(fields: dict[str, str]) -> dict[str, Any]:
    """`duration` is a number in these files; all else is text."""
    try:
        return {**fields, "duration": float(fields["duration"])}
    except (KeyError, ValueError):
        return dict(fields)


def write_gslm_json(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    """A JSON object a line."""
    return [write_lines(path, (json_line(_item(r, header)) for r in records))]


def write_resynthesis(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    """A Python dict a line."""
    return [write_lines(path, (repr(_item(r, header)) for r in records))]


register_format(
    UnitFormat(
        name="gslm-json",
        what="GSLM and pGSLM JSON lines",
        suffix=".jsonl",
        read=read_dicts,
        write=write_gslm_json,
        looks_like=object_lines(lambda item: "audio" in item and unit_key(item) is not None, in_json=True),
        holds=HELD_COLUMNS,
    )
)
register_format(
    UnitFormat(
        name="resynthesis",
        what="speech-resynthesis, a Python dict a line",
        suffix=".txt",
        read=read_dicts,
        write=write_resynthesis,
        looks_like=object_lines(has_keys("audio"), in_json=False),
        holds=HELD_COLUMNS,
    )
)
