"""The joint vocabulary as fairseq's Dictionaries: a view that prints units, and one that prints text."""

from __future__ import annotations

from typing import Any, Optional

import torch
from fairseq.data import Dictionary

from sld_user_dir.vocabulary.joint import JointVocabulary


class UnitString(str):
    """Units printed for a person: the text detokenizer leaves it alone."""


class _VocabularyView(Dictionary):
    """The joint vocabulary under a way of printing."""

    def __init__(self, vocab: JointVocabulary):
        super().__init__()
        for symbol, count in list(zip(vocab.table.symbols, vocab.table.counts))[self.nspecial :]:
            self.add_symbol(symbol, n=count)
        self.vocab = vocab

    def _rows(self, tensor: Any) -> list[int]:
        return torch.as_tensor(tensor).tolist()


class UnitView(_VocabularyView):
    """Source side: prints raw units `71 12 57` up to the separator, and reads them."""

    def string(self, tensor: Any, bpe_symbol: Optional[str] = None, *args: Any, **kwargs: Any) -> str:
        """Raw units of a tensor (L,) of ids; text where the prompt of a task is text."""
        ids = self._rows(tensor)
        if self.vocab.separator in ids:
            ids = ids[: ids.index(self.vocab.separator)]
        if self.vocab.tasks and not self.vocab.decode_units(ids):  # a prompt of text
            return TextView(self.vocab).string(ids, bpe_symbol)
        return UnitString(" ".join(map(str, self.vocab.decode_units(ids))))

    def encode_line(self, line: str, *args: Any, append_eos: bool = True, **kwargs: Any) -> torch.Tensor:
        """Ids of a line of raw units; `append_eos` as in fairseq's Dictionary."""
        ids = self.vocab.parse_units(line)
        return torch.IntTensor(ids + [self.vocab.eos] if append_eos else ids)


class TextView(_VocabularyView):
    """Target side: prints the text symbols of a sequence and nothing else.

    With a vocabulary of tasks, what follows the separator: raw units if there is any, else text.
    """

    def string(self, tensor: Any, bpe_symbol: Optional[str] = None, *args: Any, **kwargs: Any) -> str:
        """Text symbols of a tensor (L,) of ids; raw units where the answer of a task is speech."""
        ids = self._rows(tensor)
        if self.vocab.tasks:
            ids = ids[ids.index(self.vocab.separator) + 1 :] if self.vocab.separator in ids else ids
            units = self.vocab.decode_units(ids)
            if units:
                return UnitString(" ".join(map(str, units)))
        ids = [i for i in ids if self.vocab.is_text(i)]
        return super().string(torch.tensor(ids, dtype=torch.long), bpe_symbol, *args, **kwargs)
