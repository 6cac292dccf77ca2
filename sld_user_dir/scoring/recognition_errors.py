"""Errors of recognised token ids, as validation counts them; plain numbers that may be added up over batches."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Mapping, Sequence

from sld_user_dir.scoring.edits import edit_distance
from sld_user_dir.vocabulary.joint import JointVocabulary

RATES = (("wer", "_word_errors", "_words"), ("cer", "_char_errors", "_chars"))
"""A rate, its errors, and what they are divided by."""


def count_errors(
    targets: Iterable[Any], hypotheses: Iterable[Sequence[Mapping[str, Any]]], vocab: JointVocabulary
) -> Dict[str, int]:
    """Word and character errors of the best hypotheses; targets are tensors (L,) of ids, of which the text counts."""
    counts = {"_word_errors": 0, "_words": 0, "_char_errors": 0, "_chars": 0}
    for target, nbest in zip(targets, hypotheses):
        reference = vocab.decode_text(target.tolist())
        hypothesis = vocab.decode_text(nbest[0]["tokens"].tolist())
        counts["_word_errors"] += edit_distance(reference.split(), hypothesis.split())
        counts["_words"] += len(reference.split())
        counts["_char_errors"] += edit_distance(reference, hypothesis)
        counts["_chars"] += len(reference)
    return counts
