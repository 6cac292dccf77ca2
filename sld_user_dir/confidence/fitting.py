"""A confidence map from utterances whose truth is known: temperature by search, the rest by logistic regression."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import numpy as np

from sld_user_dir.arrays import PathLike
from sld_user_dir.confidence.confidence_map import ConfidenceMap
from sld_user_dir.confidence.evidence import utterance_evidence, word_evidence
from sld_user_dir.confidence.labelled import LabelledUtterance
from sld_user_dir.confidence.logistic_map import LogisticMap, fit_logistic
from sld_user_dir.errors import InputError

TEMPERATURES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def fit_confidence(
    utterances: Sequence[LabelledUtterance],
    checkpoint: str,
    vocabulary: str,
    fitted_on: dict[str, Any],
    where: Optional[PathLike] = None,
) -> ConfidenceMap:
    """The temperature of the best map of words, and both maps at it.

    Args:
        checkpoint, vocabulary: fingerprints.
        fitted_on: for people; counts of what was fitted on are added.
        where: the file of the utterances, for errors.

    Raises:
        InputError: words that are all right, or all wrong: nothing can be learnt of the difference.
    """
    words = np.array([right for one in utterances for right in one.right_words], dtype=bool)
    whole = np.array([one.is_right for one in utterances], dtype=bool)
    for outcomes, what in ((words, "words"), (whole, "utterances")):
        if not outcomes.any() or outcomes.all():
            which, remedy = "all are", "fit on a larger or harder set"
            if not outcomes.any():
                which, remedy = "none is", "fit on a larger or easier set, or take a checkpoint that gets some right"
            problem = f"of {len(outcomes)} {what} {which} right, so what sets wrong ones apart cannot be learnt"
            raise InputError(where, problem, remedy)
    found: dict[float, tuple[LogisticMap, float]] = {}
    for temperature in TEMPERATURES:
        of_words = [word_evidence(one.candidates, temperature) for one in utterances]
        found[temperature] = fit_logistic(np.concatenate(of_words), words)
    best = min(found, key=lambda temperature: found[temperature][1])
    of_utterances = np.stack([utterance_evidence(one.candidates, best) for one in utterances])
    counts = {"words": len(words), "wrong_words": int((~words).sum()), "utterances": len(whole)}
    return ConfidenceMap(
        hypotheses=max(len(one.candidates) for one in utterances),
        temperature=best,
        word=found[best][0],
        utterance=fit_logistic(of_utterances, whole)[0],
        checkpoint=checkpoint,
        vocabulary=vocabulary,
        fitted_on={**fitted_on, **counts},
    )
