"""Text tokenizers: a transcript to dictionary symbols and back.

Five kinds, named in a data directory's `vocab.json`: `char` (fairseq's letter convention, `|` for the space), `word`,
`sentencepiece`, `gpt2` (byte-level BPE) and `hf` (that of any pretrained language model, `hf_tokenizer`). Each is an
object with `encode` and `decode`; sentencepiece and transformers are imported where they are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Sequence

from sld_user_dir.errors import InputError, reason_of
from sld_user_dir.files import refuse_lfs_pointer
from sld_user_dir.pretrained_files import naming_source
from sld_user_dir.vocabulary.hf_tokenizer import HF_DIR, HFTokenizer

WORD_BOUNDARY = "|"
SENTENCEPIECE_FILE = "text.spm.model"
GPT2_DIR = "gpt2_tokenizer"


class TextTokenizer(Protocol):
    """What the vocabulary asks of a tokenizer."""

    name: str

    def encode(self, text: str) -> list[str]:
        """Symbols of a transcript."""

    def decode(self, symbols: Sequence[str]) -> str:
        """Transcript of a sequence of symbols."""


class CharTokenizer:
    """Characters; the space is written `|` as in fairseq's `.ltr` files."""

    name = "char"

    def encode(self, text: str) -> list[str]:
        if WORD_BOUNDARY in text:
            raise InputError(
                None,
                f"the transcript {text[:60]!r} contains {WORD_BOUNDARY!r}, which stands for the space",
                "remove it from the text or choose another tokenizer",
            )
        return list(WORD_BOUNDARY.join(text.split()))

    def decode(self, symbols: Sequence[str]) -> str:
        return " ".join("".join(symbols).replace(WORD_BOUNDARY, " ").split())


class WordTokenizer:
    """Whitespace-separated words: for closed vocabularies such as digits."""

    name = "word"

    def encode(self, text: str) -> list[str]:
        return text.split()

    def decode(self, symbols: Sequence[str]) -> str:
        return " ".join(symbols)


class SentencePieceTokenizer:
    """SentencePiece pieces of a trained model file."""

    name = "sentencepiece"

    def __init__(self, model: Path):
        import sentencepiece

        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
        try:
            self.vocabulary()
        except UnicodeDecodeError as error:
            remedy = "restore it, or train it again with sld vocab --text-vocab-size"
            raise InputError(model, f"a damaged SentencePiece model ({reason_of(error)})", remedy) from error

    def encode(self, text: str) -> list[str]:
        return self.processor.encode(text, out_type=str)

    def decode(self, symbols: Sequence[str]) -> str:
        return self.processor.decode_pieces(list(symbols))

    def vocabulary(self) -> list[str]:
        """Normal pieces in the model's order, without control symbols."""
        sp = self.processor
        ids = range(sp.get_piece_size())
        return [sp.id_to_piece(i) for i in ids if not (sp.is_control(i) or sp.is_unknown(i))]


class GPT2Tokenizer:
    """GPT-2's byte-level BPE, from a local Hugging Face tokenizer directory."""

    name = "gpt2"

    def __init__(self, directory: Path):
        from transformers import GPT2TokenizerFast  # type: ignore[attr-defined]

        with naming_source(directory, "GPT-2 tokenizer", _REMEDIES["gpt2"]):
            self.tokenizer = GPT2TokenizerFast.from_pretrained(str(directory), local_files_only=True)

    def encode(self, text: str) -> list[str]:
        return self.tokenizer.tokenize(text)

    def decode(self, symbols: Sequence[str]) -> str:
        return self.tokenizer.convert_tokens_to_string(list(symbols)).strip()

    def vocabulary(self) -> list[str]:
        """Symbols in GPT-2's own order."""
        table = self.tokenizer.get_vocab()
        return sorted(table, key=table.__getitem__)


KINDS = ("char", "word", "sentencepiece", "gpt2", "hf")
_PLACES = {"sentencepiece": SENTENCEPIECE_FILE, "gpt2": GPT2_DIR, "hf": HF_DIR}
_REMEDIES = {
    "sentencepiece": "copy the model there, or train one by --text-vocab-size of sld vocab",
    "gpt2": "copy the tokenizer there by --gpt2 of sld vocab",
    "hf": "copy the tokenizer there by --hf-model of sld vocab",
}


def build_text_tokenizer(kind: str, directory: Path) -> TextTokenizer:
    """The tokenizer `kind`; `directory` holds its model where it has one.

    Raises:
        InputError: unknown kind, or the model file is missing.
    """
    if kind == "char":
        return CharTokenizer()
    if kind == "word":
        return WordTokenizer()
    if kind not in KINDS:
        raise InputError(None, f"unknown text tokenizer {kind!r}", f"choose one of {', '.join(KINDS)}")
    path = directory / _PLACES[kind]
    if not path.exists():
        raise InputError(path, f"does not exist, and the {kind} tokenizer needs it", _REMEDIES[kind])
    refuse_lfs_pointer(path)
    if kind == "hf":
        return HFTokenizer(path)
    return SentencePieceTokenizer(path) if kind == "sentencepiece" else GPT2Tokenizer(path)
