"""From the units that emit labels to the times of words.

CTC emits a word near its middle, in one unit or two, whatever the word's length: the rest are blanks. So the time
between the last unit that emits a word and the first that emits the next one is shared between both: the word before
gets `share` of it, and no word reaches further than `reach_seconds` from the units that emit it. What lies between
words that both have had their reach is a pause. Without CTC, the unit that first tells a word takes the place of those
that emit it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
import numpy.typing as npt

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.ctm import TimedWord
from sld_user_dir.timing.unit_times import Seconds

Frames = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SpanOptions:
    """How the time between two emitted words is divided; docs/word_times.md has the measurements."""

    share: float = 0.5
    """of the word before"""
    reach_seconds: float = 0.3
    """a word begins at most so long before it is emitted, and ends at most so long after"""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"share {self.share}", "a share of the time between two words", "choose it in [0, 1]")
        if not self.reach_seconds > 0:
            raise InputError(f"reach_seconds {self.reach_seconds}", "no time", "choose it above 0")


USUAL_SPANS = SpanOptions()


def timed_words(
    words: Sequence[str],
    numbers: Sequence[int],
    first: Frames,
    last: Frames,
    edges: Seconds,
    options: SpanOptions = USUAL_SPANS,
) -> list[TimedWord]:
    """Start and end of each word of an utterance, none before the end of the one before.

    Args:
        words: (W,) of the transcript.
        numbers: (M,) word of each label, as `word_numbers` gives them.
        first: (M,) first unit that emits each label.
        last: (M,) last one.
        edges: (N + 1,) seconds at which units begin and end.
    """
    if not words:
        return []
    of_word = np.asarray(numbers)
    places = np.arange(len(words))
    begin, behind = np.searchsorted(of_word, places), np.searchsorted(of_word, places, side="right")
    emitted_from = edges[first[begin]]  # (W,)
    emitted_to = edges[last[np.maximum(behind - 1, begin)] + 1]
    between = emitted_to[:-1] + options.share * (emitted_from[1:] - emitted_to[:-1])
    starts = np.maximum(np.append(edges[0], between), emitted_from - options.reach_seconds)
    ends = np.minimum(np.append(between, edges[-1]), emitted_to + options.reach_seconds)
    return [TimedWord(word, float(start), float(end)) for word, start, end in zip(words, starts, ends)]


def evenly_spread(words: Sequence[str], edges: Seconds) -> list[TimedWord]:
    """Words of equal length from the first unit to the last: the guess of who knows nothing but the count."""
    bounds = np.linspace(edges[0], edges[-1], len(words) + 1).tolist()
    return [TimedWord(word, start, end) for word, start, end in zip(words, bounds, bounds[1:])]
