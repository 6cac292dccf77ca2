"""What a WER is to be compared with where it is high: an output that has not heard the recording."""

from __future__ import annotations

import random
from typing import Sequence

from sld_user_dir.errors import InputError
from sld_user_dir.scoring.edits import ErrorCounts, error_counts
from sld_user_dir.scoring.hypotheses import DecodedUtterance

DEALS = 20


def dealt_out_wer(records: Sequence[DecodedUtterance], seed: int = 0, deals: int = DEALS) -> float:
    """WER in percent of the same outputs given to recordings at random, mean of `deals` deals.

    Saying nothing at all scores 100. A system that only knows how the corpus talks scores the same
    before and after; the gap is what it has heard.

    Raises:
        ValueError: not one word in the references.
    """
    rng, total = random.Random(seed), ErrorCounts()
    references = [(record.reference or "").split() for record in records]
    hypotheses = [record.best.text.split() for record in records]
    for _ in range(deals):
        rng.shuffle(hypotheses)
        total = sum((error_counts(r, h) for r, h in zip(references, hypotheses)), total)
    if total.rate is None:
        raise InputError(None, "the references hold no words", "is this the right manifest?")
    return total.rate
