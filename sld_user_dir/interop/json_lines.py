"""One JSON object or Python dict a line: what the formats of this kind share."""

from __future__ import annotations

import ast
import json
from contextlib import suppress
from functools import lru_cache
from typing import Any, Callable, Iterable, NamedTuple, Optional

from sld_user_dir.files import parse_json
from sld_user_dir.interop.records import IntArray, InteropError, UnitRecord, audio_id, unit_list
from sld_user_dir.interop.unit_format import LooksLike
from sld_user_dir.manifests.named_columns import cell_problem

_SPACES = str.maketrans(dict.fromkeys("\t\r\n", " "))


def parse_object(line: str, where: str) -> dict[str, Any]:
    """A line that is a JSON object or a Python dict of plain values.

    Raises:
        InteropError: it is neither.
    """
    try:
        value = parse_json(line)
    except ValueError:
        try:
            value = json.loads(json.dumps(ast.literal_eval(line)))  # a set or bytes would be no value of ours
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise InteropError(where, "neither a JSON object nor a Python dict", "correct the line") from None
    if not isinstance(value, dict):
        raise InteropError(where, f"a {type(value).__name__}, expected an object with keys", "correct the line")
    return value


def require_keys(item: dict[str, Any], keys: Iterable[str], where: str) -> None:
    """Refuse an object without these keys.

    Raises:
        InteropError: names those that are wanted and those that are there.
    """
    keys = list(keys)
    if not set(keys) <= set(item):
        wanted = " and ".join(f"`{key}`" for key in keys)
        raise InteropError(where, f"wanted keys {wanted}, found {sorted(item)}", "is it of another format?")


def file_name_of(item: dict[str, Any], key: str, where: str) -> str:
    """The recording that an object names.

    Raises:
        InteropError: a name that our tables cannot hold.
    """
    name = str(item[key])
    problem = cell_problem(name)
    if problem:
        raise InteropError(where, f"`{key}` {name[:60]!r} {problem}", "rename the recording")
    return name


def text_of(item: dict[str, Any]) -> Optional[str]:
    """The transcript, where there is one."""
    return item["text"] if isinstance(item.get("text"), str) else None


def other_fields(item: dict[str, Any], without: set[str]) -> dict[str, str]:
    """The other keys as text, so that they survive in a TSV table."""
    plain = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in item.items()}
    return {k: _as_cell(v) for k, v in plain.items() if k not in without}


def _as_cell(value: str) -> str:
    """A value with spaces for the tabs and line breaks that a table cannot hold, else as it is."""
    return value.translate(_SPACES)


def durations_of(value: object, units: IntArray, where: str) -> Optional[IntArray]:
    """Frames of each unit (N,); a single number is the length of the recording, and not this.

    Raises:
        InteropError: not one for each unit.
    """
    if not isinstance(value, list):
        return None
    durations = unit_list(value, where, "durations")
    if len(durations) != len(units):
        raise InteropError(where, f"{len(units)} units but {len(durations)} durations", "make the line again")
    return durations


def audio_name(record: UnitRecord) -> str:
    """The file of an utterance, as these formats name it; the id where no column tells it."""
    return record.fields.get("audio", record.fields.get("path", record.id))


def id_beside(record: UnitRecord, name: str) -> dict[str, str]:
    """The key `id`, where the id is not the file's name without its suffix."""
    return {} if audio_id(name) == record.id else {"id": record.id}


def json_line(item: dict[str, Any]) -> str:
    """An object on one line."""
    return json.dumps(item, ensure_ascii=False)


def object_lines(wanted: Callable[[dict[str, Any]], bool], in_json: Optional[bool] = None) -> LooksLike:
    """Counts the lines that are an object of the wanted kind.

    Args:
        in_json: True for a format of JSON, False for one of Python dicts that are no JSON, None for either notation.
    """

    def is_wanted(one: _LineObject) -> bool:
        return in_json in (None, one.is_json) and wanted(one.item)

    return lambda path, lines: sum(map(is_wanted, _line_objects(tuple(lines))))


class _LineObject(NamedTuple):
    """A line that is an object, and whether it is JSON."""

    item: dict[str, Any]
    is_json: bool


@lru_cache(maxsize=1)  # formats of objects look at the same lines one after the other
def _line_objects(lines: tuple[str, ...]) -> list[_LineObject]:
    found = []
    for line in lines:
        if line.lstrip().startswith("{"):
            with suppress(InteropError):
                found.append(_LineObject(parse_object(line, ""), _is_json(line)))
    return found


def _is_json(line: str) -> bool:
    try:
        parse_json(line)
    except ValueError:
        return False
    return True


def has_keys(*keys: str) -> Callable[[dict[str, Any]], bool]:
    """Whether an object has all of these keys."""
    return lambda item: set(keys) <= set(item)
