"""Which word of a transcript each of its symbols belongs to, by the tokenizer's own `decode`."""

from __future__ import annotations

from typing import Sequence

from sld_user_dir.vocabulary.tokenizers import TextTokenizer


def word_numbers(tokenizer: TextTokenizer, symbols: Sequence[str]) -> list[int]:
    """Of each symbol (M,) the number of its word, from 0; the words are those of `decode(symbols).split()`.

    A symbol belongs to the last word that is there once it is read, so a space belongs to the word before it.
    """
    last = len(tokenizer.decode(symbols).split()) - 1
    numbers: list[int] = []
    reached = 0
    for end in range(1, len(symbols) + 1):
        begun = len(tokenizer.decode(symbols[:end]).split()) - 1
        reached = max(reached, min(begun, last))
        numbers.append(reached)
    return numbers
