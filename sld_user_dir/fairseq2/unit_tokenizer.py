"""The joint vocabulary as a tokenizer of fairseq2's: family `joint_vocabulary`, whose path is a data directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Optional, Sequence

import torch
from fairseq2.composition import register_tokenizer_family
from fairseq2.data.tokenizers import TokenDecoder, TokenEncoder, Tokenizer, VocabularyInfo
from torch import Tensor

from sld_user_dir.vocabulary.joint import JointVocabulary

FAMILY = "joint_vocabulary"


class UnitTokenizer(Tokenizer):
    """Text to ids of the joint vocabulary and back; in mode `units`, lines of raw units `71 12 57` to ids.

    Attributes:
        vocab: the joint vocabulary.
    """

    def __init__(self, vocab: JointVocabulary):
        self.vocab = vocab

    def create_encoder(
        self,
        *,
        task: Optional[str] = None,
        lang: Optional[str] = None,
        mode: Optional[str] = None,
        device: Any = None,
        pin_memory: bool = False,
    ) -> TokenEncoder:
        """An encoder that ends texts by </s>, or with mode `units` lines of units by <sep>."""
        if mode not in (None, "default", "units"):
            raise ValueError(f"`mode` must be 'default' or 'units', but is '{mode}' instead")
        return _Encoder(self.vocab, mode == "units", ends=True, device=device)

    def create_raw_encoder(self, *, device: Any = None, pin_memory: bool = False) -> TokenEncoder:
        """An encoder of texts without </s>."""
        return _Encoder(self.vocab, units=False, ends=False, device=device)

    def create_decoder(self, *, skip_special_tokens: bool = False) -> TokenDecoder:
        """A decoder of ids to text; what is no text is left out."""
        return _Decoder(self.vocab)

    @property
    def vocab_info(self) -> VocabularyInfo:
        """Size and special ids."""
        vocab = self.vocab
        return VocabularyInfo(len(vocab), vocab.unk, vocab.bos, vocab.eos, vocab.pad)


class _Encoder(TokenEncoder):
    def __init__(self, vocab: JointVocabulary, units: bool, ends: bool, device: Any):
        self._vocab, self._units, self._device = vocab, units, device
        self._end = [vocab.separator if units else vocab.eos] if ends else []

    def __call__(self, text: str) -> Tensor:
        ids = self._vocab.parse_units(text) if self._units else self._vocab.encode_text(text)
        return torch.tensor([*ids, *self._end], dtype=torch.int64, device=self._device)

    def encode_as_tokens(self, text: str) -> List[str]:
        return [self._vocab.table[i] for i in self(text).tolist()]

    @property
    def prefix_indices(self) -> Optional[Tensor]:
        return None

    @property
    def suffix_indices(self) -> Optional[Tensor]:
        return torch.tensor(self._end) if self._end else None


class _Decoder(TokenDecoder):
    def __init__(self, vocab: JointVocabulary):
        self._vocab = vocab

    def __call__(self, token_indices: Tensor) -> str:
        return self._vocab.decode_text(token_indices.tolist())

    def decode_from_tokens(self, tokens: Sequence[str]) -> str:
        return self._vocab.decode_text(self._vocab.table.id_of(token) for token in tokens)


@dataclass(kw_only=True)
class UnitTokenizerConfig:
    """Nothing to choose: dict.txt and vocab.json say it all."""


def load_unit_tokenizer(path: Path, config: UnitTokenizerConfig) -> UnitTokenizer:
    """The vocabulary of a data directory."""
    return UnitTokenizer(JointVocabulary.load(path))


def register(container: Any) -> None:
    """Register the family with fairseq2."""
    register_tokenizer_family(container, FAMILY, UnitTokenizer, UnitTokenizerConfig, loader=load_unit_tokenizer)
