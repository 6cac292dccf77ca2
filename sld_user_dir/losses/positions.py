"""The positions of a batch, and what the loss terms may ask of each.

Position t reads token t and predicts token t + 1, its target. Shapes: B rows, L positions in a row, n positions.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Mapping, NamedTuple, Optional

import torch
from torch import Tensor

from sld_user_dir.sequences.segments import ANSWER, SPEECH_ANSWER, SPEECH_PROMPT


@dataclass(frozen=True)
class Layout:
    """Where the classes lie in the joint vocabulary: text first, units last and contiguous."""

    unit_offset: int
    num_units: int
    separator: int
    pad: int

    @classmethod
    def of(cls, vocab: Any) -> Layout:
        """The layout of a `JointVocabulary`, or of anything with its attributes."""
        return cls(vocab.unit_offset, vocab.num_units, vocab.separator, vocab.pad)

    @property
    def size(self) -> int:
        """V, the number of symbols."""
        return self.unit_offset + self.num_units


class FramePosteriors(NamedTuple):
    """What units the frames of a batch may be, where units are learnt with the model."""

    log_probabilities: Tensor  # (frames, K)
    frame: Tensor  # (B, L), the frame that the target of each position is of; -1 where it is no unit


@dataclass(frozen=True)
class Positions:
    """n positions of a batch; every tensor is (n,) unless stated, and all but the ids are bool."""

    layout: Layout
    num_sentences: int  # of the batch
    index: Tensor  # of the position in the flattened (B * L)
    sentence: Tensor  # number of its utterance in the batch
    target: Tensor  # id of the next token
    unit_target: Tensor  # the same if it is a unit, else the id of unit 0
    is_unit: Tensor
    is_separator: Tensor
    is_padding: Tensor  # the target is padding, but the input is not
    is_text: Tensor  # a text symbol, <unk> or </s>
    is_answer: Tensor  # part of the answer, not of the prompt
    has_speech_prompt: Tensor  # of its sequence
    has_speech_answer: Tensor  # of its sequence
    sparse_ids: Optional[Tensor] = None  # (n, m) ids that a term's sparse target lies on
    sparse_masses: Optional[Tensor] = None  # (n, m) what it puts on them
    frame: Optional[Tensor] = None  # of the target in `posteriors`, -1 where it is no unit
    posteriors: Optional[FramePosteriors] = None  # where units are learnt with the model

    def __len__(self) -> int:
        return len(self.index)

    def take(self, chosen: Tensor) -> Positions:
        """Those that `chosen` (n,) bool selects."""
        index = chosen.nonzero().squeeze(1)
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        changed: Any = {name: value[index] for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **changed)

    def count_sentences(self, chosen: Tensor) -> Tensor:
        """How many utterances have a position in `chosen` (n,) bool; 0-dim int64."""
        found = self.sentence.new_zeros(self.num_sentences).scatter_add_(0, self.sentence, chosen.long())
        return (found > 0).sum()


def positions_of(sample: Mapping[str, Any], layout: Layout) -> Positions:
    """All positions of a collated batch that have a target, and those whose target is padding but whose input is not.

    The latter are in no batch of this package, which do not feed a sequence's last token. A row without any target
    has no position.

    Args:
        sample: `net_input.src_tokens`, `target` and `segments`, each (B, L); `net_input.src_lengths` (U,) with U > B
            where the rows are packed; `frame_posteriors` where units are learnt with the model.
    """
    tokens, target = sample["net_input"]["src_tokens"], sample["target"]
    fed = (tokens != layout.pad) & (target != layout.pad).any(1, keepdim=True)
    index = ((target != layout.pad) | fed).reshape(-1).nonzero().squeeze(1)
    ids, flags = target.reshape(-1)[index], sample["segments"].reshape(-1)[index]
    sentence = _sentences(sample["net_input"], target)
    posteriors: Optional[FramePosteriors] = sample.get("frame_posteriors")
    unit, separator, padding = ids >= layout.unit_offset, ids == layout.separator, ids == layout.pad
    return Positions(
        layout=layout,
        num_sentences=max(len(target), len(sample["net_input"].get("src_lengths", ()))),
        index=index,
        sentence=sentence[index],
        target=ids,
        unit_target=ids.clamp(min=layout.unit_offset),
        is_unit=unit,
        is_separator=separator,
        is_padding=padding,
        is_text=~padding & (ids < layout.separator),  # a token of a task lies between separator and units
        is_answer=(flags & ANSWER).bool(),
        has_speech_prompt=(flags & SPEECH_PROMPT).bool(),
        has_speech_answer=(flags & SPEECH_ANSWER).bool(),
        frame=None if posteriors is None else posteriors.frame.reshape(-1)[index],
        posteriors=posteriors,
    )


def _sentences(net_input: Mapping[str, Any], target: Tensor) -> Tensor:
    """(B * L,) number of the utterance of each position."""
    rows, length = target.shape
    lengths = net_input.get("src_lengths")
    if lengths is None or len(lengths) <= rows:
        return torch.arange(rows, device=target.device).repeat_interleave(length)
    return torch.arange(len(lengths), device=target.device).repeat_interleave(lengths.to(target.device))
