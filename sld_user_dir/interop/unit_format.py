"""What a file format of units is, and the table of all of them.

A format's file in `interop/formats/` is found by itself: it holds reading, writing, and how a file of the format is
told. docs/guides/add_a_format.md shows how to write one.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from sld_user_dir.interop.records import UnitFile, UnitRecord

LooksLike = Callable[[Path, list[str]], int]


@dataclass(frozen=True)
class UnitFormat:
    """A file format. `holds` lists what survives it besides ids and units."""

    name: str
    what: str
    suffix: str
    """of the file that is written"""
    read: Callable[[Path], UnitFile]
    write: Callable[[Path, list[UnitRecord], dict[str, Any]], list[Path]]
    looks_like: LooksLike
    """how many of these first lines of a file of this name are of the format"""
    holds: frozenset[str] = frozenset()
    """of: durations, text, and names of columns"""
    deduplicated: Optional[bool] = None
    """what the format's units always are, if it says"""
    audio_suffix: Optional[str] = None
    """of the audio manifest that always lies beside a file, from which lengths can be had"""
    truncated_names: bool = False
    """names can have lost trailing letters of an audio suffix, `ball.flac` -> `b`: the join finds them again"""


_REGISTERED: dict[str, UnitFormat] = {}


def register_format(one: UnitFormat) -> UnitFormat:
    """Let `sld import` and `sld export` know a format.

    Raises:
        ValueError: there is one of this name.
    """
    if one.name in _REGISTERED:
        raise ValueError(f"two formats named {one.name!r}")
    _REGISTERED[one.name] = one
    return one


def unit_formats() -> dict[str, UnitFormat]:
    """All registered formats by name, in alphabetical order."""
    from sld_user_dir.interop import formats

    for module in sorted(found.name for found in pkgutil.iter_modules(formats.__path__)):
        importlib.import_module(f"{formats.__name__}.{module}")
    return dict(sorted(_REGISTERED.items()))


def lines_where(is_of_format: Callable[[str], bool]) -> LooksLike:
    """Counts the lines that are of the format: best told as its reader parts them."""
    return lambda path, lines: sum(map(is_of_format, lines))


def lines_matching(pattern: str) -> LooksLike:
    """Counts the lines that match the pattern as a whole."""
    compiled = re.compile(pattern)
    return lines_where(lambda line: bool(compiled.fullmatch(line)))


def looks_like_units(text: str) -> bool:
    """Whether a text is what `parse_units` reads, values aside: digits and spaces, white space around them."""
    return text.replace(" ", "").strip().isdecimal()
