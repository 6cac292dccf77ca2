"""The order of the joint vocabulary in Hugging Face's form: the text in the model's own order, all else behind it.

ours            <s> <pad> </s> <unk> | text in the model's order | <mask> <sep> | units
Hugging Face's  text in the model's order | <s> <pad> </s> <unk> | <mask> <sep> | units
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, List

import torch
from torch import Tensor

from sld_user_dir.errors import InputError
from sld_user_dir.files import atomic_path
from sld_user_dir.vocabulary.joint import JointVocabulary

SYMBOLS_FILE = "joint_symbols.json"


def joint_ids(vocab: JointVocabulary) -> Tensor:
    """(V,) our id of each row of the exported vocabulary: text first, then all the rest in order."""
    everything = torch.arange(len(vocab))
    return torch.cat(
        [everything[vocab.text_start : vocab.text_end], everything[: vocab.text_start], everything[vocab.text_end :]]
    )


def exported_symbols(vocab: JointVocabulary) -> List[str]:
    """Our symbols, in the order of the exported vocabulary."""
    return [vocab.table[i] for i in joint_ids(vocab).tolist()]


def write_symbols(vocab: JointVocabulary, directory: Path) -> None:
    """Put the list of symbols into an exported directory."""
    with atomic_path(Path(directory) / SYMBOLS_FILE) as aside:
        aside.write_text(json.dumps(exported_symbols(vocab), ensure_ascii=False, indent=0), encoding="utf-8")


def token_of(symbol: str, taken: Any) -> str:
    """How a symbol of ours is spelt as a token; one that the model's tokenizer has itself, such as `<s>`, otherwise."""
    return f"<joint:{symbol[1:-1]}>" if symbol in taken else symbol


def added_tokens(vocab: JointVocabulary, tokenizer: Any) -> List[str]:
    """The tokens to add behind those of the model's tokenizer, in the order of their ids."""
    taken = tokenizer.get_vocab()
    return [token_of(symbol, taken) for symbol in exported_symbols(vocab)[vocab.text_end - vocab.text_start :]]


def add_our_tokens(vocab: JointVocabulary, tokenizer: Any) -> None:
    """Give a tokenizer of the model's text the specials and units, which are left out of decoded text.

    Raises:
        InputError: they don't get the ids behind the text: the tokenizer leaves ids out.
    """
    from transformers import AddedToken

    tokens = added_tokens(vocab, tokenizer)
    first = vocab.text_end - vocab.text_start
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in tokens], special_tokens=True)
    if tokenizer.convert_tokens_to_ids(tokens) != list(range(first, first + len(tokens))):
        problem = f"its ids have gaps, so that {tokens[0]} can't become token {first}"
        raise InputError("hf_tokenizer", problem, "take a base whose tokenizer numbers its tokens without gaps")
