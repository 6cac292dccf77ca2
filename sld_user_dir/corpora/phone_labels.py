"""A phone for each frame of a recording, as forced aligners' results are shared, and a lexicon of how words are said.

Labels are JSON lines, `{"name": "1272-128104-0000", "phones": ["SIL", "SIL", "M", …]}`, at 100 Hz: the form of the
labels that come with SpidR's units. A lexicon has a pronunciation a line, `WORD PHONE PHONE …`: the CMU dictionary's
form and LibriSpeech's. Stress marks of vowels, `AH0`, are dropped, and case is folded.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from sld_user_dir.arrays import PathLike
from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import iter_lines, parse_json

LABELS_HZ = 100
SILENCE = "SIL"
_VARIANT = re.compile(r"\(\d+\)$")
Lexicon = dict[str, list[tuple[str, ...]]]
"""Pronunciations of each word, in lower case."""


class PhoneRun(NamedTuple):
    """A phone and the frames that it lasts, `first` to `last` (exclusive)."""

    phone: str
    first: int
    last: int


def runs_of(labels: list[str]) -> list[PhoneRun]:
    """Neighbouring frames of one label as one run."""
    runs: list[PhoneRun] = []
    for frame, label in enumerate(labels):
        if runs and runs[-1].phone == label:
            runs[-1] = runs[-1]._replace(last=frame + 1)
        else:
            runs.append(PhoneRun(label, frame, frame + 1))
    return runs


def read_phone_labels(path: PathLike) -> dict[str, list[PhoneRun]]:
    """Runs of phones of each recording.

    Raises:
        InputError: no such file, or a line of another form.
    """
    found = {}
    for number, line in enumerate(iter_lines(path), 1):
        try:
            item = parse_json(line)
            found[str(item["name"])] = runs_of([str(label).upper() for label in item["phones"]])
        except (json.JSONDecodeError, KeyError, TypeError):
            remedy = 'expected: {"name": RECORDING, "phones": [LABEL, LABEL, …]}, a recording a line'
            raise InputError(line_of(path, number), "no phones of a recording", remedy) from None
    return found


def read_lexicon(path: PathLike) -> Lexicon:
    """Pronunciations of words; phones that follow themselves are one, as they are in runs of frames.

    Raises:
        InputError: no such file, or a word without phones.
    """
    lexicon: Lexicon = {}
    for number, line in enumerate(iter_lines(path), 1):
        word, *phones = line.partition(" #")[0].split() or [";;;"]
        if word.startswith(";;;"):
            continue
        if not phones:
            raise InputError(line_of(path, number), f"{word!r} has no phones", "expected: WORD PHONE PHONE …")
        bare = runs_of([phone.upper().rstrip("012") for phone in phones])
        lexicon.setdefault(_VARIANT.sub("", word.lower()), []).append(tuple(one.phone for one in bare))
    return lexicon
