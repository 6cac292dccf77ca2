"""Where a Hugging Face directory with unit tokens keeps them: that of the authors' program, and that of sld export-hf.

    the authors'    text | <text_end> <speech_end> | units, which the tokenizer does not know
    sld export-hf   text | <s> <pad> </s> <unk> | <mask> <sep> | units, all of them named in joint_symbols.json

The authors' program trains on `units <speech_end> text <text_end>` and hides its inputs behind the end of text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict

from sld_user_dir.errors import InputError
from sld_user_dir.files import read_json
from sld_user_dir.models.exported_symbols import SYMBOLS_FILE
from sld_user_dir.vocabulary.joint import MASK, SEPARATOR, unit_symbol

TEXT_END, SPEECH_END = "<text_end>", "<speech_end>"


@dataclass(frozen=True)
class UnitTokens:
    """The rows of a model's tables.

    Attributes:
        text: how many rows are text's; they are the first ones.
        rows: of each of our symbols that the model has, its row.
        num_units: K.
    """

    text: int
    rows: Dict[str, int]
    num_units: int


def find_unit_tokens(source: str, tokenizer: Any, size: int) -> UnitTokens:
    """The unit tokens of a directory, or of a name on the hub.

    Args:
        tokenizer: of the directory.
        size: rows of the model's tables.

    Raises:
        InputError: it has none.
    """
    named = Path(source) / SYMBOLS_FILE
    if named.is_file():
        symbols = read_json(named)
        if not isinstance(symbols, list) or not all(isinstance(one, str) for one in symbols) or "<s>" not in symbols:
            raise InputError(named, "no list of symbols with <s> behind those of text", "export the model again")
        text = symbols.index("<s>")
        rows = {symbol: text + i for i, symbol in enumerate(symbols[text:])}
        return UnitTokens(text, rows, sum(symbol.startswith("<u") and symbol != "<unk>" for symbol in rows))
    ids = tokenizer.get_vocab()
    if TEXT_END not in ids or SPEECH_END not in ids:
        raise InputError(
            source,
            f"its tokenizer has no {TEXT_END} and {SPEECH_END}, and there is no {SYMBOLS_FILE}: it reads no units",
            "give a directory of the authors' program or of sld export-hf; another model is --hf-model of a training",
        )
    first = max(ids[TEXT_END], ids[SPEECH_END]) + 1
    if first >= size:
        raise InputError(
            source, f"its tables end at row {size}, behind the text", "give the directory that was trained"
        )
    rows = {"</s>": ids[TEXT_END], SEPARATOR: ids[SPEECH_END], MASK: tokenizer.eos_token_id}
    rows.update({unit_symbol(k): first + k for k in range(size - first)})
    return UnitTokens(first - 2, rows, size - first)
