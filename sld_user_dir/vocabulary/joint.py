"""The joint vocabulary of text and speech units, and the owner of its ids.

::

    <s> <pad> </s> <unk> | text symbols | <mask> <sep> | <u0> … <u{K-1}>

Text first, units last and contiguous, so that the logits of the units are the
slice `z[..., unit_offset:]`. No other module computes an id.

A vocabulary for a mixture of tasks has a token of each of them between `<sep>` and the units, such as
`<asr> <tts> <slm> <lm>` (docs/mixture.md).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from enum import IntEnum
from pathlib import Path
from typing import Any, Iterable, Optional, Sequence

import numpy as np

from sld_user_dir.errors import InputError
from sld_user_dir.files import atomic_path, read_json
from sld_user_dir.manifests.unit_text import parse_numbers
from sld_user_dir.vocabulary.symbols import SPECIALS, SymbolTable
from sld_user_dir.vocabulary.tokenizers import TextTokenizer, build_text_tokenizer

MASK = "<mask>"
SEPARATOR = "<sep>"
DICT_FILE = "dict.txt"
VOCAB_FILE = "vocab.json"


class SpeechRole(IntEnum):
    """What speech is in the sequence of a task."""

    NONE = 0
    PROMPT = 1
    TARGET = 2


TASKS = {"asr": SpeechRole.PROMPT, "tts": SpeechRole.TARGET, "slm": SpeechRole.TARGET, "lm": SpeechRole.NONE}


def task_symbol(task: str) -> str:
    """Dictionary symbol of a task of a mixture."""
    return f"<{task}>"


def unit_symbol(unit: int) -> str:
    """Dictionary symbol of the raw unit `unit` (0 … K-1)."""
    return f"<u{unit}>"


class VocabularyError(InputError):
    """A vocabulary on disk that cannot be right; names the file and the remedy."""


class JointVocabulary:
    """Ids of text symbols, specials and units, with their encoders and decoders.

    Attributes:
        table: all symbols.
        num_units: K, the number of speech units.
        unit_offset: id of unit 0; units are `unit_offset … unit_offset + K - 1`.
        text_end: text symbols are the ids `4 … text_end - 1`.
        bos, pad, eos, unk, mask, separator: ids of the specials.
        tasks: id of each task's token; empty in a vocabulary for speech recognition alone.
    """

    def __init__(self, table: SymbolTable, tokenizer: TextTokenizer, tasks: Sequence[str] = ()):
        self.table = table
        self.tokenizer = tokenizer
        self.bos, self.pad, self.eos, self.unk = table.bos, table.pad, table.eos, table.unk
        self.text_start = len(SPECIALS)
        self.text_end = self.mask = self._require(MASK)
        self.separator = self._require(SEPARATOR)
        self.unit_offset = self._require(unit_symbol(0))
        self.num_units = len(table) - self.unit_offset
        check_tasks(tasks)
        self.tasks = {task: self._require(task_symbol(task)) for task in tasks}
        places = [self.mask, self.separator, *self.tasks.values(), self.unit_offset]
        if places != list(range(self.mask, self.mask + len(places))):
            names = ", ".join([MASK, SEPARATOR, *map(task_symbol, tasks)])
            raise VocabularyError(
                None,
                f"{names} and {unit_symbol(0)} are entries {', '.join(map(str, places[:-1]))} and {self.unit_offset} "
                "of the dictionary, but must follow each other",
                "build it with sld vocab",
            )
        for k in range(self.num_units):
            if table[self.unit_offset + k] != unit_symbol(k):
                raise VocabularyError(
                    None,
                    f"entry {self.unit_offset + k} of the dictionary is {table[self.unit_offset + k]!r}, expected "
                    f"{unit_symbol(k)!r}: units must be its last entries, in order",
                    "build it with sld vocab",
                )

    def _require(self, symbol: str) -> int:
        if symbol not in self.table:
            raise VocabularyError(None, f"the dictionary has no {symbol}", "build it with sld vocab")
        return self.table.id_of(symbol)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def text_ids(self) -> range:
        """Ids of the text symbols, no specials among them."""
        return range(self.text_start, self.text_end)

    def is_text(self, i: int) -> bool:
        """Whether id `i` is a text symbol or `<unk>`."""
        return i == self.unk or self.text_start <= i < self.text_end

    @property
    def fingerprint(self) -> str:
        """16 hex characters over tokenizer and symbols in order."""
        text = "\n".join([self.tokenizer.name, *self.table.symbols])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    # -- text ---------------------------------------------------------------
    def encode_text(self, text: str) -> list[int]:
        """Ids of a transcript; a symbol outside the vocabulary becomes `<unk>`."""
        ids = (self.table.id_of(s) for s in self.tokenizer.encode(text))
        return [i if self.is_text(i) else self.unk for i in ids]

    def decode_text(self, ids: Iterable[int]) -> str:
        """Transcript of ids; anything that is no text symbol is left out."""
        return self.tokenizer.decode([self.table[i] for i in ids if self.is_text(i)])

    # -- units --------------------------------------------------------------
    def encode_units(self, units: Any) -> np.ndarray:
        """int64 ids of raw units.

        Raises:
            InputError: a unit is outside 0 … K-1.
        """
        units = np.asarray(units, dtype=np.int64)
        if units.size and (units.min() < 0 or units.max() >= self.num_units):
            worst = units.max() if units.max() >= self.num_units else units.min()
            raise InputError(
                None,
                f"unit {worst} is outside the vocabulary's 0 … {self.num_units - 1}",
                "were these units made by another k-means?",
            )
        return units + self.unit_offset

    def decode_units(self, ids: Iterable[int]) -> list[int]:
        """Raw units of ids; anything that is no unit is left out."""
        return [i - self.unit_offset for i in ids if i >= self.unit_offset]

    def parse_units(self, line: str) -> list[int]:
        """Ids of a typed line of raw units `71 12 57`, with any white space between them.

        Raises:
            InputError: something else was typed; what a unit is, is the rule of manifests.
        """
        typed = " ".join(line.split())
        try:
            units: Any = parse_numbers(typed) if typed else []
        except ValueError:
            raise InputError(None, f"{line[:60]!r} is not a line of units", "type numbers such as: 71 12 57") from None
        return self.encode_units(units).tolist()

    # -- disk ---------------------------------------------------------------
    @classmethod
    def build(
        cls,
        texts: Iterable[str],
        num_units: int,
        tokenizer: TextTokenizer,
        symbols: Optional[Sequence[str]] = None,
        tasks: Sequence[str] = (),
    ) -> JointVocabulary:
        """Vocabulary of the symbols in `texts`, or of `symbols` in that order.

        Args:
            texts: transcripts; their symbols are counted and sorted by count, then symbol.
            num_units: K ≥ 1.
            symbols: fixes the text symbols and their order (GPT-2's, SentencePiece's).
            tasks: of a mixture, in the order of their tokens; none for speech recognition alone.

        A text symbol spelt like a special or a unit is left out: in a transcript it is `<unk>`.
        """
        check_tasks(tasks)
        specials = [MASK, SEPARATOR, *map(task_symbol, tasks), *map(unit_symbol, range(num_units))]
        reserved = set(specials)
        counts = Counter(s for text in texts for s in tokenizer.encode(text))
        if symbols is None:
            symbols = sorted(counts, key=lambda s: (-counts[s], s))
        table = SymbolTable()
        for symbol in symbols:
            if symbol not in reserved:
                table.add(symbol, counts[symbol])
        for symbol in specials:
            table.add(symbol)
        return cls(table, tokenizer, tasks)

    def save(self, directory: Path) -> None:
        """Write `vocab.json`, then `dict.txt`: where that stands, the rest does, whenever a kill came."""
        meta: dict[str, Any] = {"text_tokenizer": self.tokenizer.name, "num_units": self.num_units}
        if self.tasks:
            meta["tasks"] = list(self.tasks)
        with atomic_path(directory / VOCAB_FILE) as aside:
            aside.write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
        self.table.save(directory / DICT_FILE)

    @classmethod
    def load(cls, directory: Path) -> JointVocabulary:
        """Read a data directory's vocabulary.

        Raises:
            VocabularyError: a file is missing or inconsistent; names it and the remedy.
        """
        remedy = "build it with: sld vocab --data DIR"
        for name in (DICT_FILE, VOCAB_FILE):
            if not (directory / name).is_file():
                raise VocabularyError(directory / name, "does not exist", remedy)
        try:
            meta = read_json(directory / VOCAB_FILE)
            tokenizer = build_text_tokenizer(meta["text_tokenizer"], directory)
            vocab = cls(SymbolTable.load(directory / DICT_FILE), tokenizer, meta.get("tasks", ()))
        except InputError as error:
            of_file = error.remedy if error.where else None
            either = f"{of_file}, or {remedy}" if of_file else remedy
            raise VocabularyError(error.where or directory, error.problem, either) from error
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise VocabularyError(directory, str(error), remedy) from error
        stated = meta.get("num_units", vocab.num_units)
        if stated != vocab.num_units:
            raise VocabularyError(
                directory, f"{DICT_FILE} has {vocab.num_units} units, {VOCAB_FILE} states {stated}", remedy
            )
        return vocab


def check_tasks(tasks: Sequence[str]) -> None:
    """Refuse unknown and doubled names.

    Raises:
        VocabularyError: names the first of them.
    """
    for i, task in enumerate(tasks):
        if task not in TASKS:
            raise VocabularyError(None, f"unknown task {task!r}", f"choose among {', '.join(TASKS)}")
        if task in tasks[:i]:
            raise VocabularyError(None, f"task {task!r} twice", "name each task once")
