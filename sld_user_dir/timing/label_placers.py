"""Where the units are that tell the tokens of a transcript: by the CTC of a model, or without one."""

from __future__ import annotations

from typing import NamedTuple, Optional, Protocol, Sequence

import numpy as np
import torch
from torch import Tensor

from sld_user_dir.search.ctc_reading import read_ctc
from sld_user_dir.search.decoders import Decoder
from sld_user_dir.sequences.ctc_classes import CtcClasses
from sld_user_dir.sequences.sequence_format import FORMATS
from sld_user_dir.timing.ctc_alignment import align_labels
from sld_user_dir.timing.prefix_alignment import place_changes, text_probabilities
from sld_user_dir.timing.word_spans import Frames, SpanOptions
from sld_user_dir.vocabulary.joint import JointVocabulary

MOST_STEPS = 128
"""Prefixes of an utterance that are read at most, without CTC; a longer one is read in larger steps."""


class PlacedLabels(NamedTuple):
    """First and last unit of each token (M,)."""

    first: Frames
    last: Frames


class LabelPlacer(Protocol):
    """A way to place tokens among units."""

    spans: SpanOptions
    """how the time between two placed words is divided"""

    def __call__(self, prompts: Tensor, lengths: Tensor, texts: Sequence[list[int]]) -> list[Optional[PlacedLabels]]:
        """The tokens of each transcript; None where they cannot be placed.

        Args:
            prompts: (B, P) ids of the prompts, padded on the right, of `lengths` (B,).
            texts: ids of the transcripts.
        """


class CtcPlacer:
    """By the likeliest CTC path; of several models, the mean of their CTC probabilities counts."""

    spans = SpanOptions()

    def __init__(self, decoders: Sequence[Decoder], vocab: JointVocabulary):
        self._decoders, self._vocab, self._classes = decoders, vocab, CtcClasses.of(vocab)

    def __call__(self, prompts: Tensor, lengths: Tensor, texts: Sequence[list[int]]) -> list[Optional[PlacedLabels]]:
        outputs = self._vocab.text_end
        sessions = [decoder.start(prompts, lengths, 1, outputs, every_position=True) for decoder in self._decoders]
        log_probs, n_units = read_ctc(sessions, self._classes, prompts, lengths)
        counts = torch.tensor([len(text) for text in texts], device=prompts.device)
        ids = prompts.new_full((len(texts), int(counts.max())), self._vocab.unk)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = ids.new_tensor(text)
        found = align_labels(log_probs[:, : int(n_units.max())], n_units, self._classes.of_ids(ids), counts)
        first, last, possible = found.first.cpu().numpy(), found.last.cpu().numpy(), found.log_prob.isfinite().tolist()
        return [
            PlacedLabels(first[row, : len(text)], last[row, : len(text)]) if possible[row] else None
            for row, text in enumerate(texts)
        ]


class PrefixPlacer:
    """Where each token can first be told; for any model."""

    spans = SpanOptions(share=0.65)

    def __init__(self, decoders: Sequence[Decoder], vocab: JointVocabulary):
        self._decoders, self._vocab = decoders, vocab
        self._emission = FORMATS["asr"].emission(vocab)

    def __call__(self, prompts: Tensor, lengths: Tensor, texts: Sequence[list[int]]) -> list[Optional[PlacedLabels]]:
        return [
            self._place(prompt[:length], text)
            for prompt, length, text in zip(prompts, lengths.tolist(), texts, strict=True)
        ]

    def _place(self, prompt: Tensor, text: list[int]) -> Optional[PlacedLabels]:
        if not text:
            return PlacedLabels(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        is_unit = prompt >= self._vocab.unit_offset
        first = int(is_unit.int().argmax())  # <s> and a task's token may come before
        units = prompt[is_unit]
        if len(units) < len(text):
            return None
        stride = max(1, min(-(-len(units) // MOST_STEPS), len(units) // len(text)))
        steps = torch.unique(torch.arange(stride, len(units) + stride, stride).clamp(max=len(units)))
        tail = torch.cat([prompt[-1:], prompt.new_tensor(text)])
        heard = text_probabilities(self._decoders, self._emission, prompt[:first].tolist(), units, tail, steps)
        told = steps.numpy()[place_changes(heard.cpu()).numpy()] - 1
        return PlacedLabels(told, told)
