"""Units and texts that a user gives, as prompts; what a model cannot read is refused."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from sld_user_dir.errors import InputError
from sld_user_dir.sequences.sequence_format import FORMATS

Units = Sequence[int]


def as_batch(units: Any) -> tuple[list[Any], bool]:
    """A list of utterances, and whether one utterance was given."""
    rows = units.tolist() if hasattr(units, "tolist") else list(units)
    single = not rows or np.ndim(rows[0]) == 0
    return ([rows] if single else rows), single


def check_units(units: Units, deduplicated: bool) -> None:
    """Refuse what is no list of raw units.

    Args:
        deduplicated: the model knows no unit that follows itself.

    Raises:
        InputError: no units, other things than whole numbers, or repeats where there must be none.
    """
    if not len(units):
        raise InputError(None, "no units", "give at least one")
    array = np.asarray(units)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise InputError(None, f"{str(units)[:40]!r} is no list of raw units", "give numbers such as [71, 12, 57]")
    if deduplicated and bool((array[1:] == array[:-1]).any()):
        raise InputError(
            None, "units follow themselves, but the model was trained on de-duplicated ones", "collapse the runs"
        )


def refuse_too_long(units: Sequence[Units], files: Sequence[Any], most: int) -> None:
    """Refuse recordings that a model cannot hold whole.

    Args:
        units: of each recording.
        most: units that the model holds beside the separator, one token of text and the end.

    Raises:
        InputError: names the first.
    """
    for file, one in zip(files, units):
        if len(one) > most:
            problem = f"{len(one)} units, but the model holds {most} beside a transcript"
            raise InputError(str(file), problem, "transcribe_long, and sld transcribe, cut recordings at pauses")


def encode_text(text: str, task: Any, use: str) -> list[int]:
    """Ids of a text.

    Args:
        task: fairseq's task, whose vocabulary is used.
        use: what the model is to do with it: read or write.

    Raises:
        InputError: names a symbol that the vocabulary lacks.
    """
    vocab = task.vocab
    ids = vocab.encode_text(text)
    unknown = [s for s, i in zip(vocab.tokenizer.encode(text), ids) if i == vocab.unk]
    if unknown:
        problem = f"{unknown[0]!r} is not in the vocabulary of {task.cfg.data}"
        raise InputError(None, problem, f"the model cannot {use} it")
    return ids


def speech_beginning(units: Units, task: Any) -> list[int]:
    """Ids of units that are to be continued (`slm`)."""
    return [*FORMATS["slm"].head(task.vocab, task.cfg.add_bos_token), *task.vocab.encode_units(units).tolist()]


def text_beginning(name: str, text: str, task: Any) -> list[int]:
    """Ids of a text that is to be spoken (`tts`) or continued (`lm`)."""
    sequence = FORMATS[name]
    end = [] if sequence.is_open_ended else [task.vocab.separator]
    return [*sequence.head(task.vocab, task.cfg.add_bos_token), *encode_text(text, task, "read"), *end]
