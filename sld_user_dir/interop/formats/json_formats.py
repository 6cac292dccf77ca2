"""One JSON object (or Python dict) a line: GSLM and pGSLM, speech-resynthesis, the authors', slamkit."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, Callable, Optional

from sld_user_dir.interop.records import (
    IntArray,
    InteropError,
    UnitFile,
    UnitRecord,
    audio_id,
    read_lines,
    unit_list,
    write_lines,
)
from sld_user_dir.interop.unit_format import LooksLike, UnitFormat, register_format

UNIT_KEYS = ("units", "hubert", "vqvae256", "codes")
KMEANS_KEY = re.compile(r".+_km(\d+)$")
TOKENS = re.compile(r"(?:<Un\d+>)+")
SUBWORD_BASE = 256
WORD_START = "\u2581"  # SentencePiece's mark


def parse_object(line: str, where: str) -> dict[str, Any]:
    """A line that is a JSON object or a Python dict of plain values."""
    try:
        value = json.loads(line)
    except ValueError:
        try:
            value = ast.literal_eval(line)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise InteropError(where, "neither a JSON object nor a Python dict", "correct the line") from None
    if not isinstance(value, dict):
        raise InteropError(where, f"a {type(value).__name__}, expected an object with keys", "correct the line")
    return value


def unit_key(item: dict[str, Any]) -> Optional[str]:
    """The key that holds the units: `hubert_km100`, `hubert`, `codes`, …; None where there is not exactly one."""
    keys = [k for k in item if k in UNIT_KEYS or KMEANS_KEY.match(str(k))]
    return keys[0] if len(keys) == 1 else None


def _text_of(item: dict[str, Any]) -> Optional[str]:
    return item["text"] if isinstance(item.get("text"), str) else None


def _fields(item: dict[str, Any], without: set[str]) -> dict[str, str]:
    """The other keys as text, so that they survive in a TSV table."""
    plain = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in item.items()}
    return {k: " ".join(v.split()) for k, v in plain.items() if k not in without}


def _durations(value: object, units: IntArray, where: str) -> Optional[IntArray]:
    """Frames of each unit; a single number is the length of the recording, and not this."""
    if not isinstance(value, list):
        return None
    durations = unit_list(value, where, "durations")
    if len(durations) != len(units):
        raise InteropError(where, f"{len(units)} units but {len(durations)} durations", "make the line again")
    return durations


# -- GSLM, pGSLM, speech-resynthesis ----------------------------------------------
def read_dicts(path: Path) -> UnitFile:
    """`{"audio": …, "hubert_km100": "71 71", …}`, in JSON or in Python's notation.

    Raises:
        InteropError: units under two keys, which stand for two encoders.
    """
    records: list[UnitRecord] = []
    first: Optional[tuple[str, str]] = None
    for where, line in read_lines(path):
        item = parse_object(line, where)
        key = unit_key(item)
        if key is None or "audio" not in item:
            raise InteropError(where, f"wanted `audio` and one of {', '.join(UNIT_KEYS)} or …_km100 among its keys")
        first = first or (key, where)
        if key != first[0]:
            raise InteropError(
                where,
                f"units of {key}, but of {first[0]} at {first[1]}",
                "units of two encoders do not mix: split the file",
            )
        units = unit_list(item[key], where)
        stream = "durations" if "durations" in item else "duration"
        durations = _durations(item.get(stream), units, where)
        drop = {key, "id", "text"} | ({stream} if durations is not None else set())
        name = str(item.get("id", audio_id(str(item["audio"]))))
        records.append(UnitRecord(name, units, durations, _text_of(item), _fields(item, drop), where))
    size = KMEANS_KEY.match(first[0]) if first else None
    return UnitFile(records, int(size[1]) if size else None, header={"unit_key": first[0]} if first else {})


def _dict_item(record: UnitRecord, header: dict[str, object]) -> dict[str, Any]:
    name = record.fields.get("audio", record.fields.get("path", record.id))
    item: dict[str, Any] = {"audio": name, **_restored(record.fields)}
    item.pop("path", None)
    if audio_id(name) != record.id:
        item["id"] = record.id
    if record.durations is not None:
        item["durations"] = record.durations.tolist()  # `duration` is the recording's, in seconds
    item[str(header.get("unit_key", "hubert"))] = " ".join(map(str, record.units.tolist()))
    return item if record.text is None else {**item, "text": record.text}


def _restored(fields: dict[str, str]) -> dict[str, Any]:
    """`duration` is a number in these files; all else is text."""
    try:
        return {**fields, "duration": float(fields["duration"])}
    except (KeyError, ValueError):
        return dict(fields)


def write_gslm_json(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    return [write_lines(path, (_json(_dict_item(r, header)) for r in records))]


def write_resynthesis(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    return [write_lines(path, (repr(_dict_item(r, header)) for r in records))]


# -- the authors' JSON lines ---------------------------------------------------------
def read_authors(path: Path) -> UnitFile:
    """`{"text": …, "idx": […], "subword": …, "subword_idx": […]}`: no names, but text and units on one line."""
    records = []
    for number, (where, line) in enumerate(read_lines(path), 1):
        item = parse_object(line, where)
        if "idx" not in item or not isinstance(item.get("text"), str):
            raise InteropError(where, f"wanted keys `text` and `idx`, found {sorted(item)}")
        units = unit_list(item["idx"], where)
        _check_subword(item, units, where)
        name = str(item.get("id", f"{path.stem}-{number:06d}"))
        fields = _fields(item, {"id", "text", "idx"})
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
            raise InteropError(r.where, "no transcript, which this format wants")
        rest = {k: v for k, v in r.fields.items() if k == "subword"}
        if "subword_idx" in r.fields:
            rest["subword_idx"] = json.loads(r.fields["subword_idx"])
        return {"text": r.text, "idx": r.units.tolist(), **rest, "id": r.id}

    return [write_lines(path, (_json(item(r)) for r in records))]


# -- slamkit -------------------------------------------------------------------------
def read_slamkit(path: Path) -> UnitFile:
    """`{"units": […], "duration": […], "file_name": …}`."""
    return UnitFile(_slamkit(path, "units", unit_list))


def read_slamkit_tokens(path: Path) -> UnitFile:
    """`{"file_name": …, "audio_repr": "<Un3><Un49>"}`."""
    return UnitFile(_slamkit(path, "audio_repr", _tokens))


def _tokens(value: object, where: str) -> IntArray:
    if not isinstance(value, str) or not TOKENS.fullmatch(value):
        raise InteropError(where, f"audio_repr is {str(value)[:40]!r}, expected <Un3><Un49>", "correct the line")
    return unit_list(" ".join(re.findall(r"\d+", value)), where)


def _slamkit(path: Path, key: str, parse: Callable[[object, str], IntArray]) -> list[UnitRecord]:
    records = []
    for where, line in read_lines(path):
        item = parse_object(line, where)
        if key not in item or "file_name" not in item:
            raise InteropError(where, f"wanted keys `file_name` and `{key}`, found {sorted(item)}")
        units = parse(item[key], where)
        durations = _durations(item.get("duration"), units, where)
        drop = {key, "duration", "file_name", "text", "id"}
        fields = {**_fields(item, drop), "audio": str(item["file_name"])}
        name = str(item.get("id", audio_id(str(item["file_name"]))))
        records.append(UnitRecord(name, units, durations, _text_of(item), fields, where))
    return records


def _slamkit_name(record: UnitRecord) -> dict[str, Any]:
    name = record.fields.get("audio", record.fields.get("path", record.id))
    return {"file_name": name} if audio_id(name) == record.id else {"file_name": name, "id": record.id}


def write_slamkit(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    def item(r: UnitRecord) -> dict[str, Any]:
        durations = {} if r.durations is None else {"duration": r.durations.tolist()}
        return {"units": r.units.tolist(), **durations, **_slamkit_name(r)}

    return [write_lines(path, (_json(item(r)) for r in records))]


def write_slamkit_tokens(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    def item(r: UnitRecord) -> dict[str, Any]:
        return {**_slamkit_name(r), "audio_repr": "".join(f"<Un{u}>" for u in r.units.tolist())}

    return [write_lines(path, (_json(item(r)) for r in records))]


def _json(item: dict[str, Any]) -> str:
    return json.dumps(item, ensure_ascii=False)


def _objects(wanted: Callable[[dict[str, Any]], bool], start: str = '{"') -> LooksLike:
    """A file whose first line is an object of the wanted kind."""

    def looks_like(path: Path, lines: list[str]) -> bool:
        return bool(lines) and lines[0].startswith(start) and wanted(parse_object(lines[0], f"{path}:1"))

    return looks_like


def _has(*keys: str) -> Callable[[dict[str, Any]], bool]:
    return lambda item: set(keys) <= set(item)


DICT_COLUMNS = frozenset({"durations", "text", "audio", "speaker", "duration"})

register_format(
    UnitFormat(
        name="gslm-json",
        what="GSLM and pGSLM JSON lines",
        suffix=".jsonl",
        read=read_dicts,
        write=write_gslm_json,
        looks_like=_objects(lambda item: "audio" in item and unit_key(item) is not None),
        holds=DICT_COLUMNS,
    )
)
register_format(
    UnitFormat(
        name="resynthesis",
        what="speech-resynthesis, a Python dict a line",
        suffix=".txt",
        read=read_dicts,
        write=write_resynthesis,
        looks_like=_objects(_has("audio"), "{'"),
        holds=DICT_COLUMNS,
    )
)
register_format(
    UnitFormat(
        name="authors",
        what="the paper's authors' JSON lines",
        suffix=".json",
        read=read_authors,
        write=write_authors,
        looks_like=_objects(_has("text", "idx")),
        holds=frozenset({"text", "subword", "subword_idx"}),
        deduplicated=False,
    )
)
register_format(
    UnitFormat(
        name="slamkit",
        what="slamkit features",
        suffix=".jsonl",
        read=read_slamkit,
        write=write_slamkit,
        looks_like=_objects(_has("units", "file_name")),
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
        looks_like=_objects(_has("audio_repr", "file_name")),
        holds=frozenset({"audio"}),
        deduplicated=True,
    )
)
