"""The tokenizer of a pretrained language model as the text tokenizer of a data directory.

Text symbols are the model's own, in the order of its ids: text id `text_start + i` of the joint vocabulary is the
model's id i, and no other table is needed (`models/joint_embedding`). dict.txt holds one symbol a line, so a token that
could not stand there, such as a tab, or that is spelt like a symbol of ours, such as `<s>`, is written `<text:ID>`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Sequence, Union

from sld_user_dir.errors import InputError
from sld_user_dir.files import directory_or_name
from sld_user_dir.pretrained_files import naming_source

HF_DIR = "hf_tokenizer"
_LIKE_OURS = re.compile(r"</?\w+>")  # <s>, </s>, <sep>, <asr>, <u12>
REMEDY = "give a directory of save_pretrained, or a name on the Hugging Face hub such as HuggingFaceTB/SmolLM2-135M"


def load_tokenizer(source: Union[str, Path]) -> Any:
    """The tokenizer of a Hugging Face directory, or of a name on its hub; no code of others is run.

    Raises:
        InputError: there is none.
    """
    from transformers import AutoTokenizer

    with naming_source(source, "tokenizer", REMEDY):
        tokenizer = AutoTokenizer.from_pretrained(directory_or_name(str(source)), trust_remote_code=False)
        size = len(tokenizer)
    if size < 2:  # an empty folder gives a tokenizer of <|endoftext|> alone
        raise InputError(source, "no tokenizer there", REMEDY)
    return tokenizer


class HFTokenizer:
    """A Hugging Face tokenizer, from a local directory; it adds no special tokens."""

    name = "hf"

    def __init__(self, source: Union[str, Path]):
        self.tokenizer = load_tokenizer(source)
        self._symbols = _spell(self.tokenizer.get_vocab())
        self._ids = {symbol: i for i, symbol in enumerate(self._symbols)}

    def encode(self, text: str) -> list[str]:
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return [self._symbols[i] for i in ids]

    def decode(self, symbols: Sequence[str]) -> str:
        ids = [self._ids[symbol] for symbol in symbols if symbol in self._ids]
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()

    def vocabulary(self) -> list[str]:
        """One symbol for each of the model's ids, in their order."""
        return list(self._symbols)


def _spell(table: dict[str, int]) -> list[str]:
    """The symbol of each id; an id without a token is written `<text:ID>`, too."""
    symbols = [f"<text:{i}>" for i in range(max(table.values()) + 1)]
    for token, i in table.items():
        if token.split() == [token] and not _LIKE_OURS.fullmatch(token):
            symbols[i] = token
    return symbols
