"""What the hypotheses of a search say about the best of them, word by word.

Symbols: h_1 … h_n the hypotheses, best first, each with log-probability l_i; T a temperature.

    posterior of h_i   q_i = exp(l_i / T) / sum over j of exp(l_j / T)
    of a word of h_1         the sum of q_i over the hypotheses that have this word in the same place of an alignment
    of the text of h_1       the sum of q_i over the hypotheses with the same text

Wessel et al. 2001, "Confidence measures for large vocabulary continuous speech recognition", sum likewise over lattices
and n-best lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
import numpy.typing as npt

from sld_user_dir.errors import InputError
from sld_user_dir.scoring.alignment import align
from sld_user_dir.vocabulary.tokenizers import TextTokenizer
from sld_user_dir.vocabulary.word_numbers import word_numbers

Evidence = npt.NDArray[np.float64]
WORD_EVIDENCE = ("log-probability of its tokens", "log-odds of its posterior in the beam")
UTTERANCE_EVIDENCE = ("log-probability of its tokens", "log-odds of its posterior in the beam", "least of its words")
LEAST = 1e-4
"""Posteriors are kept so far from 0 and 1, so that their log-odds are finite."""


@dataclass(frozen=True)
class Candidate:
    """A hypothesis of a search."""

    words: list[str]
    word_log_probs: list[float]
    """natural log-probability of each word: of its tokens together"""
    log_prob: float
    """of all tokens, the end included"""

    @classmethod
    def of_tokens(cls, tokenizer: TextTokenizer, symbols: Sequence[str], log_probs: Sequence[float]) -> Candidate:
        """From the tokens of a transcript.

        Args:
            symbols: text tokens (M,), without the end symbol.
            log_probs: (M + 1,) of the tokens and of the end symbol.

        Raises:
            InputError: not as many numbers as tokens.
        """
        if len(log_probs) != len(symbols) + 1:
            problem = f"{len(log_probs)} scores for {len(symbols)} tokens and the end"
            raise InputError(None, problem, "give the output of the same decoding, with its P- lines")
        words = tokenizer.decode(symbols).split()
        of_words = np.zeros(len(words))
        if words:
            np.add.at(of_words, word_numbers(tokenizer, symbols), np.asarray(log_probs[:-1], dtype=np.float64))
        return cls(words, of_words.tolist(), float(np.sum(log_probs)))


def posteriors(candidates: Sequence[Candidate], temperature: float) -> Evidence:
    """q (n,)."""
    scaled = np.array([one.log_prob for one in candidates]) / temperature
    odds = np.exp(scaled - scaled.max())
    return odds / odds.sum()


def word_evidence(candidates: Sequence[Candidate], temperature: float) -> Evidence:
    """(W, 2) what `WORD_EVIDENCE` names, of each word of the best hypothesis."""
    best = candidates[0]
    share = np.zeros(len(best.words))
    for one, weight in zip(candidates, posteriors(candidates, temperature)):
        share[_places_of_equal_words(best.words, one.words)] += weight
    return np.stack([np.asarray(best.word_log_probs), _log_odds(share)], axis=1)


def utterance_evidence(candidates: Sequence[Candidate], temperature: float) -> Evidence:
    """(3,) what `UTTERANCE_EVIDENCE` names."""
    best = candidates[0]
    same = np.array([one.words == best.words for one in candidates])
    share = posteriors(candidates, temperature)[same].sum()
    return np.array([best.log_prob, float(_log_odds(share)), min(best.word_log_probs, default=best.log_prob)])


def _places_of_equal_words(best: list[str], other: list[str]) -> list[int]:
    """Of the best hypothesis' words those that the other one has, too, where an alignment puts it."""
    if best == other:
        return list(range(len(best)))
    places, place = [], 0
    for of_best, of_other in align(best, other):
        if of_best is not None:
            if of_best == of_other:
                places.append(place)
            place += 1
    return places


def _log_odds(probability: Evidence) -> Evidence:
    inside = np.clip(probability, LEAST, 1 - LEAST)
    return np.log(inside) - np.log1p(-inside)
