"""The text of one growing utterance: decoded again with each chunk, settled by local agreement, final at its end.

While the utterance grows, hypotheses begin with what has settled. The last decoding is free of that: its text is the
one of offline decoding, and it tells how many settled words it takes back. With `keep_settled` it takes back none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, Protocol, Sequence

from sld_user_dir.streaming.local_agreement import LocalAgreement, agreed_words
from sld_user_dir.vocabulary.tokenizers import TextTokenizer, WordTokenizer
from sld_user_dir.vocabulary.word_numbers import word_numbers


class StreamHypothesis(Protocol):
    """What is used of a transcript of a search."""

    @property
    def text(self) -> str:
        """Its words."""

    @property
    def tokens(self) -> Sequence[str]:
        """Its symbols, with the end."""


Decode = Callable[[Sequence[int], Sequence[str]], Sequence[StreamHypothesis]]
"""Units so far, and symbols that the transcript must begin with, to hypotheses, best first."""


@dataclass(frozen=True)
class PartialText:
    """What is known of an utterance so far."""

    settled: list[str]
    """words that stay, but for what `taken_back` says"""
    tentative: list[str]
    """words that may change"""
    is_final: bool = False
    taken_back: int = 0
    """settled words that the final text lacks or has otherwise"""

    @property
    def text(self) -> str:
        """All words."""
        return " ".join(self.settled + self.tentative)


class StreamRecogniser:
    """Units so far to text so far.

    Args:
        decode: of one stream's units.
        tokenizer: of the vocabulary.
        agreement: hypotheses in a row that must agree on a word for it to settle.
        keep_settled: the final text begins with the settled words, too, and may then be worse than that of offline
            decoding.
    """

    def __init__(self, decode: Decode, tokenizer: TextTokenizer, agreement: int = 2, keep_settled: bool = False):
        self._decode, self._tokenizer, self._keep_settled = decode, tokenizer, keep_settled
        open_words = 0 if isinstance(tokenizer, WordTokenizer) else 1
        self._agreement = LocalAgreement(agreement, open_words)
        self._forced: list[str] = []  # symbols of the settled words

    def update(self, units: Sequence[int]) -> PartialText:
        """What is known once these units are there: all of the utterance so far."""
        settled = self._agreement.words
        best = self._consistent(units)
        if best is None:
            return PartialText(list(settled), [])
        words = best.text.split()
        settled = self._agreement.update(words)
        symbols = list(best.tokens[:-1])
        numbers = word_numbers(self._tokenizer, symbols)
        self._forced = [one for one, number in zip(symbols, numbers) if number < len(settled)]
        return PartialText(settled, words[len(settled) :])

    def finish(self, units: Sequence[int]) -> PartialText:
        """The final text of the utterance, whose units these are."""
        settled = self._agreement.words
        best = self._consistent(units) if self._keep_settled else self._decode(units, [])[0] if len(units) else None
        words = list(settled) if best is None and self._keep_settled else best.text.split() if best else []
        return PartialText(words, [], True, len(settled) - len(agreed_words([settled, words])))

    def _consistent(self, units: Sequence[int]) -> Optional[StreamHypothesis]:
        """The best hypothesis that begins with the settled words: more symbols can make another word of the last."""
        settled = self._agreement.words
        found = self._decode(units, self._forced) if len(units) else []
        return next((one for one in found if one.text.split()[: len(settled)] == settled), None)
