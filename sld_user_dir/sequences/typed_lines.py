"""Lines that a user types or pipes into fairseq-interactive, counted, so that errors can name them."""

from __future__ import annotations

from typing import Sequence

from sld_user_dir.errors import InputError
from sld_user_dir.sequences.sequence_format import SequenceFormat
from sld_user_dir.vocabulary.joint import JointVocabulary


class TypedLines:
    """Counts the lines that were read.

    Attributes:
        names: of the lines that were read last.
    """

    def __init__(self) -> None:
        self._read = 0
        self.names: list[str] = []

    def read(self, lines: Sequence[str], sequence: SequenceFormat, vocab: JointVocabulary) -> list[list[int]]:
        """Ids of the prompts of further lines.

        Raises:
            InputError: names the first line that is no prompt of the task.
        """
        self.names = [f"input line {number}" for number in range(self._read + 1, self._read + len(lines) + 1)]
        self._read += len(lines)
        return [_prompt(line, name, sequence, vocab) for line, name in zip(lines, self.names)]


def _prompt(line: str, name: str, sequence: SequenceFormat, vocab: JointVocabulary) -> list[int]:
    try:
        ids = sequence.parse_prompt(line, vocab)
    except InputError as error:
        raise InputError(name, error.problem, error.remedy) from None
    if not ids and not sequence.is_open_ended:
        what = "units" if sequence.reads_speech else "text"
        raise InputError(name, f"empty, but a prompt of the task {sequence.task} is {what}", "remove the line")
    return ids
