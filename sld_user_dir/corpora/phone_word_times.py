"""Where words begin and end in a string of phones that an aligner has timed, by a lexicon.

The words are laid over the runs of phones in order, silence allowed between them, so that as many as possible have one
of their pronunciations there, phone by phone. A word that the lexicon lacks, or that was said otherwise, takes any
runs. So its own edges are guessed, and so may be those of its neighbours that no silence parts from it: they have
confidence 0 in what is returned, and the others 1. Where one word ends in the phone that the next begins with, the
labels do not tell the edge, and both have confidence 0, too.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple, Optional, Sequence

from sld_user_dir.corpora.phone_labels import LABELS_HZ, SILENCE, Lexicon, PhoneRun
from sld_user_dir.manifests.ctm import TimedWord

MAX_RUNS_OF_A_GUESS = 20
COST_OF_A_GUESS, COST_OF_SHARING = 1.0, 0.001


class _Place(NamedTuple):
    """A word on the runs `first` to `last` (exclusive), and the cheapest way there."""

    cost: float
    first: int
    last: int
    is_exact: bool
    shares: bool
    """it begins in the run in which the word before ends"""
    before: Optional[_Place]


def words_on_phones(words: Sequence[str], runs: Sequence[PhoneRun], lexicon: Lexicon) -> list[TimedWord]:
    """Times of all words, with confidence 1 where both edges are sure, else 0; evenly spread where they do not fit."""
    phones = [one.phone for one in runs]
    places: dict[int, _Place] = {0: _Place(0.0, 0, 0, True, False, None)}
    for word in words:
        places = _next_places(places, phones, lexicon.get(word.lower(), []))
    rest = [one for one in places.values() if all(phone == SILENCE for phone in phones[one.last :])]
    place = min(rest, key=lambda one: one.cost, default=None)
    found: list[_Place] = []
    while place is not None and place.before is not None:
        found.append(place)
        place = place.before
    return _timed(words, found[::-1], runs) if found else _spread(words, runs)


def _spread(words: Sequence[str], runs: Sequence[PhoneRun]) -> list[TimedWord]:
    """Words of equal length, none of them sure."""
    length = (runs[-1].last if runs else 0) / LABELS_HZ / max(1, len(words))
    return [TimedWord(word, i * length, (i + 1) * length, 0.0) for i, word in enumerate(words)]


def _next_places(
    places: dict[int, _Place], phones: Sequence[str], pronunciations: Sequence[tuple[str, ...]]
) -> dict[int, _Place]:
    """The cheapest place of the next word for each run that it can end before."""
    best: dict[int, _Place] = {}

    def offer(before: _Place, first: int, last: int, cost: float, is_exact: bool, shares: bool = False) -> None:
        if last not in best or before.cost + cost < best[last].cost:
            best[last] = _Place(before.cost + cost, first, last, is_exact, shares, before)

    for end, before in places.items():
        start = end + 1 if phones[end : end + 1] == [SILENCE] else end
        for spoken in pronunciations:
            if tuple(phones[start : start + len(spoken)]) == spoken:
                offer(before, start, start + len(spoken), 0.0, True)
            if start == end > 0 and tuple(phones[end - 1 : end - 1 + len(spoken)]) == spoken:
                offer(before, end - 1, end - 1 + len(spoken), COST_OF_SHARING, True, shares=True)
        for last in range(start + 1, min(start + MAX_RUNS_OF_A_GUESS, len(phones)) + 1):
            if phones[last - 1] == SILENCE:
                break
            offer(before, start, last, COST_OF_A_GUESS, False)
    return best


def _timed(words: Sequence[str], places: Sequence[_Place], runs: Sequence[PhoneRun]) -> list[TimedWord]:
    # whether the edge before each place, and after the last one, is sure
    sure = [True, *(_is_sure(before, after) for before, after in itertools.pairwise(places)), True]
    found = []
    for i, (word, place) in enumerate(zip(words, places)):
        start, end = runs[place.first].first, runs[place.last - 1].last
        if place.shares:
            start = (runs[place.first].first + runs[place.first].last) // 2
        if i + 1 < len(places) and places[i + 1].shares:
            end = (runs[place.last - 1].first + runs[place.last - 1].last) // 2
        is_sure = place.is_exact and sure[i] and sure[i + 1]
        found.append(TimedWord(word, start / LABELS_HZ, max(start, end) / LABELS_HZ, float(is_sure)))
    return found


def _is_sure(before: _Place, after: _Place) -> bool:
    """The edge between two words: silence parts them, or both stand there phone by phone, in runs of their own."""
    return after.first > before.last or (before.is_exact and after.is_exact and not after.shares)
