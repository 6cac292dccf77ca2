"""Transcripts that a search found, to the times of their words, a batch at a time."""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor

from sld_user_dir.manifests.ctm import TimedWord
from sld_user_dir.search.ctc_reading import read_ctc
from sld_user_dir.search.decoders import Decoder
from sld_user_dir.sequences.ctc_classes import CtcClasses
from sld_user_dir.timing.ctc_alignment import align_labels
from sld_user_dir.timing.unit_times import Seconds
from sld_user_dir.timing.word_spans import USUAL_SPANS, SpanOptions, evenly_spread, timed_words
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.word_numbers import word_numbers


class WordAligner:
    """Aligns by the CTC of models that were trained with one.

    Args:
        decoders: models over the vocabulary; of several, the mean of their CTC probabilities counts.

    Attributes:
        unaligned: transcripts so far that had more words than CTC can emit in their units; theirs are evenly spread.
    """

    def __init__(self, decoders: Sequence[Decoder], vocab: JointVocabulary, options: SpanOptions = USUAL_SPANS):
        self._decoders, self._vocab, self._options = decoders, vocab, options
        self._classes = CtcClasses.of(vocab)
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
        outputs = self._vocab.text_end
        sessions = [decoder.start(prompts, lengths, 1, outputs, every_position=True) for decoder in self._decoders]
        log_probs, n_units = read_ctc(sessions, self._classes, prompts, lengths)
        counts = torch.tensor([len(text) for text in texts], device=prompts.device)
        ids = prompts.new_full((len(texts), int(counts.max())), self._vocab.unk)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = ids.new_tensor(text)
        found = align_labels(log_probs[:, : int(n_units.max())], n_units, self._classes.of_ids(ids), counts)
        first, last, possible = found.first.cpu().numpy(), found.last.cpu().numpy(), found.log_prob.isfinite().tolist()
        self.unaligned += possible.count(False)
        result = []
        for row, text in enumerate(texts):
            symbols = [self._vocab.table[i] for i in text]
            words = self._vocab.tokenizer.decode(symbols).split()
            if possible[row]:
                numbers = word_numbers(self._vocab.tokenizer, symbols)
                spans = first[row, : len(text)], last[row, : len(text)]
                result.append(timed_words(words, numbers, *spans, edges[row], self._options))
            else:
                result.append(evenly_spread(words, edges[row]))
        return result
