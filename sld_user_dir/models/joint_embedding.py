"""Two tables as one joint vocabulary: a pretrained model's text symbols, and ours.

    joint ids       <s> <pad> </s> <unk> | text in the model's order | <mask> <sep> … <u0> … <u{K-1}>
    text table                             row 0 …
    new table       row 0 … 3            |                           | row 4 …

Neither is ever copied into the other: so the text can be frozen, and a checkpoint needs to hold the new table only.
"""

from __future__ import annotations

from typing import List

import torch
from torch import Tensor, nn

from sld_user_dir.vocabulary.joint import JointVocabulary


class JointRows:
    """How the joint ids are shared out among the two tables."""

    def __init__(self, vocab: JointVocabulary):
        self.start, self.end = vocab.text_start, vocab.text_end
        self.new = len(vocab) - (self.end - self.start)
        self.first_unit = vocab.unit_offset - (self.end - self.start)  # in the new table

    def matrices(self, text: Tensor, new: Tensor) -> List[Tensor]:
        """Matrices that make one with a row for each joint id, put above each other."""
        size = self.end - self.start
        # not text[:size] where that is all: its gradient would be copied
        return [new[: self.start], text if len(text) == size else text[:size], new[self.start :]]


class JointEmbedding(nn.Module):
    """Embeddings of joint ids; the text's are looked up in the pretrained model's own module.

    Args:
        rows: of the joint vocabulary.
        text: the pretrained module. It stays part of the backbone, and is no part of this module.
        new: (new symbols, d)
    """

    def __init__(self, rows: JointRows, text: nn.Embedding, new: Tensor):
        super().__init__()
        self.rows = rows
        self._text = (text,)  # in a tuple, so that it's not registered twice
        self.new = nn.Parameter(new)

    @property
    def text(self) -> nn.Embedding:
        """The pretrained model's embeddings."""
        return self._text[0]

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L) to (B, L, d)."""
        rows, size = self.rows, self.rows.end - self.rows.start
        is_text = (tokens >= rows.start) & (tokens < rows.end)
        text = self.text((tokens - rows.start).clamp(0, size - 1))
        new = nn.functional.embedding(
            torch.where(tokens < rows.end, tokens, tokens - size).clamp(0, rows.new - 1), self.new
        )
        scale = getattr(self.text, "embed_scale", None)  # of Gemma: its table is multiplied as it is read
        if scale is not None:
            new = new * torch.as_tensor(scale, device=new.device).to(new.dtype)
        return torch.where(is_text[..., None], text, new)
