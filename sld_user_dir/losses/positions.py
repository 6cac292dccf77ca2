"""Which positions of a batch take part in which loss (no fairseq, nothing of this package)."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Where the classes lie in the joint vocabulary: units last and contiguous."""

    unit_offset: int
    num_units: int
    separator: int
    pad: int

    @classmethod
    def of(cls, vocab: Any) -> "Layout":
        """The layout of a `JointVocabulary`, or of anything with its attributes."""
        return cls(vocab.unit_offset, vocab.num_units, vocab.separator, vocab.pad)

    @property
    def size(self) -> int:
        return self.unit_offset + self.num_units


class SoftTargets(NamedTuple):
    """The KL targets of `centroid`: on unit y, the mass weights[y, i] on unit units[y, i]; both (K, m).

    A line of `units` holds no unit twice; a line of `weights` sums to 1.
    """

    units: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> "SoftTargets":
        return SoftTargets(self.units.to(device), self.weights.to(device))


class Segments(NamedTuple):
    """In a mixture of tasks: what the target of each position is in its sequence; each (B, L) bool."""

    answer: Tensor  # part of the answer, not of the prompt
    speech_prompt: Tensor  # of a sequence whose prompt is speech
    speech_target: Tensor  # of a sequence whose answer is speech


class Rows(NamedTuple):
    """The n positions that take part in some loss, out of the B * L of a batch; each (n,)."""

    position: Tensor  # index into the flattened (B * L)
    target: Tensor  # id of the next token
    unit_target: Tensor  # id of the unit that the KL target peaks at
    text: Tensor  # bool: counts in CE_text
    speech: Tensor  # bool: counts in CE_speech
    unit: Tensor  # bool: the target is a unit
    kl: Tensor  # bool: counts in the KL
    uniform: Tensor  # bool: its KL target is uniform
    answer: Tensor  # bool: counts in CE_target, the answers in speech
    neighbours: Optional[Tensor] = None  # (n, m) ids that the `centroid` target lies on
    masses: Optional[Tensor] = None  # (n, m) what it puts on them


def select_rows(
    src_tokens: Tensor, target: Tensor, layout: Layout, official: bool, soft: Optional[SoftTargets] = None,
    segments: Optional[Segments] = None, prompt_text: bool = True,
) -> Rows:  # fmt: skip
    """Sort the positions of a batch into classes. src_tokens, target: (B, L) ids.

    `official` follows the authors' program: the separator counts as speech; the KL covers every
    position but those from padding to padding and rows without a target; its target peaks at
    unit 0 where y is no unit, and is uniform where y is padding (the last token of a padded row,
    where the batch feeds it in).

    `segments`, in a mixture of tasks: CE_speech and the KL are left to sequences whose prompt is
    speech (the separator of `official` to all); an answer in speech, </s> included, is plain
    `answer`; a task's token has no cross-entropy. Without `prompt_text` a prompt in text has none.
    """
    fed = ((src_tokens != layout.pad) & (target != layout.pad).any(1, keepdim=True)).reshape(-1)
    target = target.reshape(-1)
    padding = target == layout.pad
    unit = target >= layout.unit_offset
    separator = target == layout.separator
    live = ~padding | fed if official else ~(padding | separator)
    index = live.nonzero().squeeze(1)
    target, padding, unit, separator = (t[index] for t in (target, padding, unit, separator))
    unit_target = target.clamp(min=layout.unit_offset)
    raw = unit_target - layout.unit_offset
    rows = Rows(
        position=index,
        target=target,
        unit_target=unit_target,
        text=~(unit | padding | separator),
        speech=unit | separator if official else unit,
        unit=unit,
        kl=torch.ones_like(unit) if official else unit,
        uniform=padding,
        answer=torch.zeros_like(unit),
        neighbours=None if soft is None else soft.units[raw] + layout.unit_offset,
        masses=None if soft is None else soft.weights[raw],
    )
    return rows if segments is None else _mixed(rows, segments, layout, prompt_text)


def _mixed(rows: Rows, segments: Segments, layout: Layout, prompt_text: bool) -> Rows:
    """The same positions, sorted by the part that they play in a mixture of tasks."""
    answered, speech_prompt, speech_target = (part.reshape(-1)[rows.position] for part in segments)
    task = (rows.target > layout.separator) & (rows.target < layout.unit_offset)
    answer = answered & speech_target & ~rows.uniform
    return rows._replace(
        text=rows.text & ~answer & ~task & (answered | prompt_text),
        speech=rows.speech & (speech_prompt | ~rows.unit),
        kl=rows.kl & speech_prompt,
        answer=answer,
    )
