"""Which words of a growing transcript are settled: those that the last n hypotheses begin with alike.

Source: Liu, Spanakis and Niehues 2020, "Low-latency sequence-to-sequence speech recognition and translation by partial
hypothesis selection" (Interspeech 2020): the hold-back strategies; local agreement is theirs with n = 2.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Sequence

from sld_user_dir.errors import InputError


def agreed_words(hypotheses: Sequence[Sequence[str]]) -> list[str]:
    """Words that all hypotheses begin with."""
    common = []
    for words in zip(*hypotheses):
        if len(set(words)) > 1:
            break
        common.append(words[0])
    return common


class LocalAgreement:
    """The settled words of one stream; they only ever become more.

    Args:
        agreement: n, hypotheses in a row that must agree; 1 settles every word at once.
        open_words: words at the end of a hypothesis that more speech may still lengthen, and that so settle later.

    Attributes:
        words: settled so far.
    """

    def __init__(self, agreement: int = 2, open_words: int = 0):
        if agreement < 1:
            raise InputError(f"--agreement {agreement}", "no hypothesis to agree", "take 1 or more; 2 is usual")
        self.words: list[str] = []
        self._agreement, self._open = agreement, open_words
        self._recent: Deque[list[str]] = deque(maxlen=agreement)

    def update(self, hypothesis: Sequence[str]) -> list[str]:
        """Take in the words of the newest hypothesis; returns the settled ones."""
        self._recent.append(list(hypothesis[: len(hypothesis) - self._open]))
        if len(self._recent) == self._agreement:
            agreed = agreed_words(self._recent)
            if len(agreed) > len(self.words) and agreed[: len(self.words)] == self.words:
                self.words = agreed
        return list(self.words)
