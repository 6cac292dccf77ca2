"""The classes of CTC over the joint vocabulary: what the loss trains and what the search reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class CtcClasses:
    """Class 0 is the blank; class c from 1 on is the text id `first + c - 1`.

    Attributes:
        blank: <s>, as in fairseq's CTC: it is never a target of the decoder, so its output row is free.
        first: the first label, <unk>.
        end: behind the last one.
        unit_offset: id of unit 0.
    """

    blank: int
    first: int
    end: int
    unit_offset: int

    @classmethod
    def of(cls, vocab: Any) -> CtcClasses:
        """Of a `JointVocabulary`, or anything with its `bos`, `unk`, `text_end` and `unit_offset`."""
        return cls(vocab.bos, vocab.unk, vocab.text_end, vocab.unit_offset)

    @property
    def labels(self) -> slice:
        """The text ids, in the order of their classes."""
        return slice(self.first, self.end)

    def of_outputs(self, outputs: Tensor, dim: int = -1) -> Tensor:
        """(…, V, …) over ids, at least `end` of them, to (…, C, …) over classes."""
        blank = outputs.narrow(dim, self.blank, 1)
        return torch.cat([blank, outputs.narrow(dim, self.first, self.end - self.first)], dim)

    def of_ids(self, ids: Tensor) -> Tensor:
        """Classes of text ids; what is no label becomes the first one, and must not be looked at."""
        return (ids - self.first + 1).clamp(min=1)
