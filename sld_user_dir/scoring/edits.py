"""Edit counts between a reference and a hypothesis, and the text normalisation that goes before them."""

from __future__ import annotations

import string
import unicodedata
from dataclasses import dataclass
from typing import Hashable, Optional, Sequence

import editdistance
from rapidfuzz.distance import Levenshtein

from sld_user_dir.scoring.alignment import Pair, align

_EDITDISTANCE_TOKENS = 640
"""Where both sides are longer, the package editdistance computes the whole matrix, cell by cell; rapidfuzz takes 64."""


@dataclass(frozen=True)
class TextNormalization:
    """What is done to a text before it is compared: always to the reference and the hypothesis alike.

    Runs of white space become one space in any case.
    """

    lowercase: bool = False
    """Fold case."""
    strip_punctuation: bool = False
    """Remove ASCII and Unicode punctuation, except apostrophes inside words."""
    unicode_form: Optional[str] = "NFC"
    """Unicode normal form (NFC, NFD, NFKC, NFKD), or None to leave code points alone."""

    def __call__(self, text: str) -> str:
        if self.unicode_form is not None:
            text = unicodedata.normalize(self.unicode_form, text)  # type: ignore[arg-type]
        if self.lowercase:
            text = text.lower()
        if self.strip_punctuation:
            text = "".join(c if not _is_punctuation(c) else " " for c in text.replace("\u2019", "'"))
            text = " ".join(word.strip("'") for word in text.split())
        return " ".join(text.split())


def _is_punctuation(char: str) -> bool:
    return char != "'" and (char in string.punctuation or unicodedata.category(char).startswith("P"))


@dataclass(frozen=True)
class ErrorCounts:
    """Edits that turn references of `reference_length` tokens into hypotheses. Add them up; rates come last."""

    reference_length: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> Optional[float]:
        """Errors per hundred reference tokens; None where there is no reference token."""
        return 100.0 * self.errors / self.reference_length if self.reference_length else None

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            self.reference_length + other.reference_length,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


def edit_distance(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> int:
    """Levenshtein distance between two token sequences (or strings: then between characters)."""
    if min(len(reference), len(hypothesis)) > _EDITDISTANCE_TOKENS:
        return int(Levenshtein.distance(reference, hypothesis))
    return int(editdistance.eval(reference, hypothesis))


def error_counts(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCounts:
    """Substitutions, deletions and insertions of a cheapest alignment of two token sequences."""
    if list(reference) == list(hypothesis):
        return ErrorCounts(len(reference))
    pairs = align(reference, hypothesis)
    return ErrorCounts(
        reference_length=len(reference),
        substitutions=sum(r is not None and h is not None and r != h for r, h in pairs),
        deletions=sum(h is None for _, h in pairs),
        insertions=sum(r is None for r, _ in pairs),
    )


def format_alignment(pairs: Sequence[Pair]) -> str:
    """Three lines, REF, HYP and the edits below each other; `*` fills the side that has no token."""
    columns: list[list[str]] = [[], [], []]
    for ref, hyp in pairs:
        edit = "I" if ref is None else "D" if hyp is None else "S" if ref != hyp else ""
        width = max(len(ref or "*"), len(hyp or "*"))
        for line, cell in zip(columns, (ref or "*" * width, hyp or "*" * width, edit)):
            line.append(cell.ljust(width))
    return "\n".join(f"{name} {' '.join(cells)}".rstrip() for name, cells in zip(("REF:", "HYP:", "    "), columns))
