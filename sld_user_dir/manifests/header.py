"""The header of a manifest: lines `# key: JSON value` above its table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterable, Mapping

from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import parse_json


def read_header(path: Path, lines: Iterable[str], error: type[InputError]) -> tuple[dict[str, Any], int]:
    """The entries at the head of a file, and the number of lines that they take.

    Args:
        path: the file that errors name.
        lines: of the file, without their ends; none after the first that is no header line is looked at.

    Raises:
        InputError: of the kind `error`: a line that begins with `#` and is not `# key: JSON value`.
    """
    entries: dict[str, Any] = {}
    n_lines = 0
    for number, line in enumerate(lines, 1):
        if not line.startswith("#"):
            break
        key, colon, value = line[1:].partition(":")
        try:
            if not colon:
                raise ValueError("no colon")
            entries[key.strip()] = parse_json(value)
        except ValueError as problem:
            raise error(
                line_of(path, number), f"header line is not '# key: JSON value' ({problem})", "correct it"
            ) from None
        n_lines = number
    return entries, n_lines


def check_format(
    path: Path, entries: Mapping[str, Any], wanted: str, what: str, error: type[InputError], remedy: str
) -> None:
    """Refuse a file whose header does not state the format.

    Args:
        wanted: value of the entry `format`, such as `speech-unit-manifest/1`.
        what: a file of this format, such as `a unit manifest`.
        remedy: what to do with a file of another kind.

    Raises:
        InputError: of the kind `error`, at the first line.
    """
    if entries.get("format") != wanted:
        raise error(line_of(path, 1), f"not {what}: no '# format: \"{wanted}\"' at the top", remedy)


def header_lines(entries: Mapping[str, Any]) -> list[str]:
    """The lines that `read_header` reads, without their ends."""
    return [f"# {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items()]
