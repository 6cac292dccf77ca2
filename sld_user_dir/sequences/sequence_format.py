"""How the sequence of a task is built: what is prompt and answer, and what may be emitted.

::

    asr   [<s>] [<asr>] u_1 … u_N <sep> | w_1 … w_M </s>
    tts   [<s>]  <tts>  w_1 … w_M <sep> | u_1 … u_N </s>
    slm   [<s>]  <slm>                  | u_1 … u_N </s>
    lm    [<s>]  <lm>                   | w_1 … w_M </s>

To the left of the bar stands the prompt, to the right the answer. Speech recognition is the task of a vocabulary
without tokens of tasks: there its sequences have none. Such a model also continues its own prompts: `slm` then means
units after units, up to <sep>.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional, Tuple

import numpy as np
import numpy.typing as npt

from sld_user_dir.errors import InputError
from sld_user_dir.files import BYTE_ORDER_MARK
from sld_user_dir.sequences.segments import SPEECH_ANSWER, SPEECH_PROMPT
from sld_user_dir.vocabulary.joint import JointVocabulary

Ids = npt.NDArray[np.int64]
SPEECH, TEXT = "speech", "text"
TASK_REMEDY = "make a vocabulary with task tokens: sld vocab --data DIR --tasks asr,tts,slm,lm"


class TaskError(InputError):
    """A task, or a mixture of tasks, that cannot be."""


class Emission(NamedTuple):
    """What an answer may be made of."""

    ids: Tuple[int, ...]  # ascending, with `end`
    end: int  # the symbol that ends it


@dataclass(frozen=True)
class SequenceFormat:
    """The sequence of one task.

    Attributes:
        task: its name.
        prompt: `speech`, `text`, or None where the model starts from nothing, or from the beginning of its answer.
        answer: `speech` or `text`.
    """

    task: str
    prompt: Optional[str]
    answer: str

    @property
    def is_open_ended(self) -> bool:
        """Other answers are as right as the recorded one."""
        return self.prompt is None

    @property
    def reads_speech(self) -> bool:
        """What a user types for it is units, not text."""
        return SPEECH in (self.prompt, self.answer if self.is_open_ended else None)

    @property
    def segment_flags(self) -> int:
        """Flags of the whole sequence; see `segments`."""
        return SPEECH_PROMPT * (self.prompt == SPEECH) + SPEECH_ANSWER * (self.answer == SPEECH)

    def head(self, vocab: JointVocabulary, add_bos: bool) -> list[int]:
        """Ids that the prompt begins with: <s> if wanted, then the task's token if the vocabulary has any."""
        return [vocab.bos] * add_bos + ([vocab.tasks[self.task]] if vocab.tasks else [])

    def build(self, units: Ids, text: Ids, vocab: JointVocabulary, add_bos: bool) -> Tuple[Ids, Ids]:
        """Prompt and answer, the end symbol included, of an utterance: ids of its units (N,) and of its text (M,)."""
        content = {SPEECH: units, TEXT: text}
        prompt = [self.head(vocab, add_bos)]
        if self.prompt is not None:
            prompt += [content[self.prompt].tolist(), [vocab.separator]]
        answer = np.append(content[self.answer], self.emission(vocab).end)
        return np.concatenate(prompt).astype(np.int64), answer.astype(np.int64)

    def lengths(self, units: Ids, texts: Ids, vocab: JointVocabulary, add_bos: bool) -> Ids:
        """Tokens that the model reads, the end symbol not among them, for lengths (rows,) of units and texts."""
        content = {SPEECH: units, TEXT: texts}
        total = content[self.answer] + add_bos + bool(vocab.tasks)
        return total if self.prompt is None else total + content[self.prompt] + 1

    def emission(self, vocab: JointVocabulary) -> Emission:
        """What the answer may be made of."""
        if self.answer == TEXT:
            return Emission((vocab.eos, *range(vocab.text_start, vocab.text_end)), vocab.eos)
        end = vocab.eos if vocab.tasks else vocab.separator
        return Emission((end, *range(vocab.unit_offset, len(vocab))), end)

    def parse_prompt(self, line: str, vocab: JointVocabulary) -> list[int]:
        """Ids of what a user typed: raw units `71 12 57`, or text."""
        line = line.lstrip(BYTE_ORDER_MARK)  # which fairseq-interactive leaves at the start of a file
        return vocab.parse_units(line) if self.reads_speech else vocab.encode_text(line)


FORMATS = {
    one.task: one
    for one in (
        SequenceFormat("asr", SPEECH, TEXT),
        SequenceFormat("tts", TEXT, SPEECH),
        SequenceFormat("slm", None, SPEECH),
        SequenceFormat("lm", None, TEXT),
    )
}


def format_of(task: str, vocab: JointVocabulary) -> SequenceFormat:
    """The format of a task that the vocabulary allows.

    Raises:
        TaskError: unknown, or without a token in the vocabulary; names the remedy.
    """
    if task not in FORMATS:
        raise TaskError(f"task {task!r}", "unknown task", f"choose among {', '.join(FORMATS)}")
    if not vocab.tasks and task != "asr":
        raise TaskError(f"task {task!r}", "the vocabulary is for speech recognition alone", TASK_REMEDY)
    if vocab.tasks and task not in vocab.tasks:
        raise TaskError(f"task {task!r}", f"the vocabulary has tokens of {', '.join(vocab.tasks)} only", TASK_REMEDY)
    return FORMATS[task]
