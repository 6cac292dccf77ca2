"""Word times in NIST's CTM form, which sclite, Kaldi and many tools read.

::

    <recording> <channel> <start> <duration> <word> [<confidence>]
    test-00000-george A 0.240 0.380 eight 0.987

Times are in seconds. Lines that begin with `;;` are remarks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Iterable, Iterator, Optional

from sld_user_dir.arrays import PathLike
from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import atomic_path, iter_lines, unwritable

CHANNEL = "A"
REMARK = ";;"


class CtmError(InputError):
    """Word times that cannot be read or written; names file and line."""


@dataclass(frozen=True)
class TimedWord:
    """A word and when it is said."""

    word: str
    start_seconds: float
    end_seconds: float
    confidence: Optional[float] = None
    """probability that the word is right, where it is known"""

    def shifted(self, seconds: float) -> TimedWord:
        """The same word so much later."""
        return replace(self, start_seconds=self.start_seconds + seconds, end_seconds=self.end_seconds + seconds)

    def ended_by(self, seconds: float) -> TimedWord:
        """The same word, none of it later: frames of an encoder may reach a little beyond the last sample."""
        return replace(self, start_seconds=min(self.start_seconds, seconds), end_seconds=min(self.end_seconds, seconds))


Utterances = dict[str, list[TimedWord]]
"""The words of each recording, in their order."""


def write_ctm(path: PathLike, utterances: Iterable[tuple[str, Iterable[TimedWord]]]) -> int:
    """Write a file whole or not at all; returns the number of words.

    Raises:
        CtmError: a name or word with white space, which the format cannot hold.
    """
    count = 0
    with atomic_path(path) as aside, open(aside, "w", encoding="utf-8", newline="\n") as out:
        for name, words in utterances:
            for one in words:
                out.write(_line(name, one) + "\n")
                count += 1
    return count


def is_ctm_name(name: str) -> bool:
    """Whether a recording's name can be read again from a line of the format."""
    return _is_column(name) and not name.startswith(REMARK)


def _is_column(value: str) -> bool:
    return value.split() == [value] and unwritable(value) is None


def _line(name: str, one: TimedWord) -> str:
    for value, held in ((name, is_ctm_name(name)), (one.word, _is_column(one.word))):
        if not held:
            raise CtmError(repr(value), "no name or word of a CTM file, whose columns white space divides", "rename it")
    columns = [name, CHANNEL, f"{one.start_seconds:.3f}", f"{one.end_seconds - one.start_seconds:.3f}", one.word]
    return " ".join(columns if one.confidence is None else [*columns, f"{one.confidence:.4f}"])


def read_ctm(path: PathLike) -> Utterances:
    """Read a file.

    Raises:
        CtmError: no such file, a line of another form, words of a recording that are not in order of time.
    """
    utterances: Utterances = {}
    for number, line in _lines(path):
        where = line_of(path, number)
        name, one = _parse(where, line.split())
        words = utterances.setdefault(name, [])
        if words and one.start_seconds < words[-1].start_seconds:
            raise CtmError(where, f"the word begins before the one above it, of {name}", "sort the lines by time")
        words.append(one)
    return utterances


def _lines(path: PathLike) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(iter_lines(Path(path), CtmError), 1):
        if line.strip() and not line.startswith(REMARK):
            yield number, line


def _parse(where: str, columns: list[str]) -> tuple[str, TimedWord]:
    remedy = "expected: recording channel start duration word [confidence]"
    if len(columns) not in (5, 6):
        raise CtmError(where, f"{len(columns)} columns", remedy)
    try:
        start, duration = float(columns[2]), float(columns[3])
        confidence = float(columns[5]) if len(columns) == 6 else None
    except ValueError as problem:
        raise CtmError(where, str(problem), remedy) from None
    if not (0 <= start < math.inf and 0 <= duration < math.inf):
        raise CtmError(where, f"start {columns[2]} and duration {columns[3]}", "give seconds from 0 on")
    if confidence is not None and not 0 <= confidence <= 1:
        raise CtmError(where, f"confidence {columns[5]}", "give a probability, from 0 to 1")
    return columns[0], TimedWord(columns[4], start, start + duration, confidence)
