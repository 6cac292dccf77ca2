"""Transcripts that a search found, to the times of their words, a batch at a time."""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor

from sld_user_dir.manifests.ctm import TimedWord
from sld_user_dir.search.decoders import Decoder
from sld_user_dir.timing.label_placers import CtcPlacer, LabelPlacer, PrefixPlacer
from sld_user_dir.timing.unit_times import Seconds
from sld_user_dir.timing.word_spans import evenly_spread, timed_words
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.word_numbers import word_numbers


class WordAligner:
    """Times words by the units that tell them.

    Args:
        decoders: models over the vocabulary; of several, the mean of their probabilities counts.
        has_ctc: they were trained with a CTC term on the speech positions, which is then what times words.

    Attributes:
        unaligned: transcripts so far with more tokens than their units can tell; their words are evenly spread.
    """

    def __init__(self, decoders: Sequence[Decoder], vocab: JointVocabulary, has_ctc: bool):
        self._place: LabelPlacer = CtcPlacer(decoders, vocab) if has_ctc else PrefixPlacer(decoders, vocab)
        self._vocab = vocab
        self.unaligned = 0

    @torch.no_grad()
    def __call__(
        self, prompts: Tensor, lengths: Tensor, answers: Sequence[Sequence[int]], edges: Sequence[Seconds]
    ) -> list[list[TimedWord]]:
        """The timed words of each utterance.

        Args:
            prompts: (B, P) ids of the prompts, padded on the right, of `lengths` (B,).
            answers: ids of the transcripts; what is no text is passed over.
            edges: of each utterance, where its units begin and end.
        """
        texts = [[i for i in answer if self._vocab.is_text(i)] for answer in answers]
        result = []
        for text, placed, bounds in zip(texts, self._place(prompts, lengths, texts), edges, strict=True):
            symbols = [self._vocab.table[i] for i in text]
            words = self._vocab.tokenizer.decode(symbols).split()
            if placed is None:
                self.unaligned += 1
                result.append(evenly_spread(words, bounds))
            else:
                numbers = word_numbers(self._vocab.tokenizer, symbols)
                result.append(timed_words(words, numbers, placed.first, placed.last, bounds, self._place.spans))
        return result
