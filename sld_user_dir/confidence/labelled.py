"""Decoded utterances as candidates with the truth: which words of the best hypothesis are right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence

from sld_user_dir.arrays import PathLike
from sld_user_dir.confidence.evidence import Candidate
from sld_user_dir.errors import InputError
from sld_user_dir.scoring.alignment import align
from sld_user_dir.scoring.edits import TextNormalization
from sld_user_dir.scoring.hypotheses import DecodedUtterance, HypothesisError
from sld_user_dir.vocabulary.tokenizers import TextTokenizer

AS_IS = TextNormalization()


@dataclass(frozen=True)
class LabelledUtterance:
    """The hypotheses of an utterance, and what of the best one is right."""

    candidates: list[Candidate]
    right_words: list[bool]
    """of each word of the best one"""
    is_right: bool
    """all of it"""


def label(
    records: Sequence[DecodedUtterance],
    tokenizer: TextTokenizer,
    where: PathLike,
    normalization: TextNormalization = AS_IS,
) -> list[LabelledUtterance]:
    """What fairseq-generate wrote, by the scores of its `P-` lines.

    Args:
        tokenizer: of the model's vocabulary: how its tokens make words.
        where: the file, for errors.

    Raises:
        HypothesisError: lines without scores, or without a reference.
    """
    return [_label(record, tokenizer, where, normalization) for record in records]


def _label(
    record: DecodedUtterance, tokenizer: TextTokenizer, where: PathLike, normalization: TextNormalization
) -> LabelledUtterance:
    if record.reference is None:
        raise HypothesisError(str(where), f"utterance {record.id!r} has no reference (no T- line)", "give its manifest")
    try:
        candidates = [
            Candidate.of_tokens(tokenizer, one.tokens.split(), [math.log(2) * p for p in one.positional_scores])
            for one in record.hypotheses
        ]
    except InputError as error:
        raise HypothesisError(str(where), f"utterance {record.id!r}: {error.problem}", error.remedy) from None
    reference = normalization(record.reference).split()
    words = [normalization(word) for word in candidates[0].words]
    right = [of_reference == of_best for of_reference, of_best in align(reference, words) if of_best is not None]
    return LabelledUtterance(candidates, right, reference == words)
