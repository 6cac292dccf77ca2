"""What all formats have in common: records with a place in a file, and errors that name it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable, Iterator, Optional

import numpy.typing as npt

from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import atomic_path, iter_lines, unwritable_line
from sld_user_dir.manifests.unit_text import parse_numbers

IntArray = npt.NDArray[Any]
WHITE_SPACE = "".join(filter(str.isspace, map(chr, range(0x3001))))
"""All of it, for names that must hold none."""
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".sph")


class InteropError(InputError):
    """A foreign file that cannot be right: `FILE:LINE: what; remedy`, with both places where two disagree."""


@dataclass(frozen=True)
class UnitRecord:
    """One utterance of a foreign file. `text` is None where the format holds none."""

    id: str
    units: IntArray
    """int32 (N,), raw ids from 0"""
    durations: Optional[IntArray] = None
    """(N,) frames of each unit"""
    text: Optional[str] = None
    fields: dict[str, str] = field(default_factory=dict)
    where: str = ""
    """FILE:LINE"""


@dataclass(frozen=True)
class UnitFile:
    """The records of a file, and what the format itself says about its units (None: nothing)."""

    records: list[UnitRecord]
    num_units: Optional[int] = None
    deduplicated: Optional[bool] = None
    header: dict[str, Any] = field(default_factory=dict)


def numbered_lines(path: Path) -> Iterator[tuple[str, str]]:
    """`FILE:LINE` and the line without its end, for every line up to the last that is not blank.

    Raises:
        InteropError: no such file, or bytes that are not UTF-8.
    """
    for number, line in enumerate(iter_lines(path, InteropError), 1):
        yield line_of(path, number), line


def parse_units(text: str, where: str, what: str = "units") -> IntArray:
    """int32 (N,), N ≥ 1, of `71 12 57`.

    Raises:
        InteropError: none, or anything but whole numbers.
    """
    if not text.strip():
        raise InteropError(where, f"no {what}", "remove the utterance, or make its units again")
    try:
        return parse_numbers(text.strip())
    except ValueError as error:
        raise InteropError(where, f"bad {what} {text[:40]!r}: {error}", "write them as: 71 12 57") from None


def unit_list(value: object, where: str, what: str = "units") -> IntArray:
    """The same of a JSON value: a list of whole numbers, or a string of them.

    Raises:
        InteropError: none, or anything but whole numbers.
    """
    if isinstance(value, str):
        return parse_units(value, where, what)
    if not isinstance(value, list) or any(type(v) is not int for v in value):
        raise InteropError(where, f"{what} are {str(value)[:40]!r}, no list of whole numbers", "correct the line")
    return parse_units(" ".join(map(str, value)), where, what)


def audio_id(name: str) -> str:
    """The id of an audio file: its path without the suffix of an audio format."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in AUDIO_SUFFIXES else name


def beside(path: Path, suffix: str) -> Path:
    """`dir/a.b.units` → `dir/a.b` + suffix."""
    return path.with_name(path.stem + suffix)


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """Write a text file atomically.

    Raises:
        InteropError: a line that would not be read as it was written.
    """
    with atomic_path(path) as aside, open(aside, "w", encoding="utf-8", newline="\n") as out:
        for line in lines:
            problem = unwritable_line(line)
            if problem:
                raise InteropError(path, f"the line {line[:60]!r} {problem}", "rename the utterance")
            out.write(line + "\n")
    return path


def check_name(record: UnitRecord, forbidden: str, format_name: str) -> str:
    """The id, where this format can hold it.

    Raises:
        InteropError: it holds one of the forbidden characters, a tab or a line break.
    """
    bad = [c for c in record.id if c in forbidden or c in "\t\n\r"]
    if bad:
        raise InteropError(
            record.where, f"the id {record.id!r} contains {bad[0]!r}, which {format_name} cannot hold", "rename it"
        )
    return record.id
