"""Longer training utterances from short ones: rows of a unit manifest joined at random.

In a corpus of few prompts a model learns them by heart. Joined in ever other company they make it
look at the speech, and where it is (the connected digits are made the same way, of audio).
"""

from __future__ import annotations

from typing import Iterator, Sequence

import numpy as np

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.unit_manifest import Utterance

MAX_UTTERANCES = 5  # in a string


def join_utterances(
    utterances: Sequence[Utterance], count: int, longest: int, seed: int = 1, group_by: str = "speaker"
) -> Iterator[Utterance]:
    """`count` strings of 2 … 5 utterances that share the column `group_by`.

    Args:
        longest: units of a string; utterances that would exceed it are passed over.

    Raises:
        InputError: no two utterances fit into `longest` units together.
    """
    rng = np.random.default_rng(seed)
    groups: dict[str, list[Utterance]] = {}
    for one in utterances:
        groups.setdefault(one.fields.get(group_by, ""), []).append(one)
    names = [name for name in sorted(groups) if _two_fit(groups[name], longest)]
    if count and not names:
        raise InputError(None, f"no two utterances fit into {longest} units", "join fewer, or allow longer strings")
    made = 0
    while made < count:
        string = _draw(groups[names[made % len(names)]], longest, rng)
        if len(string) > 1:
            yield _joined(f"joined-{made:05d}", string)
            made += 1


def _two_fit(pool: list[Utterance], longest: int) -> bool:
    lengths = sorted(len(one.units) for one in pool)
    return len(lengths) > 1 and lengths[0] + lengths[1] <= longest


def _draw(pool: list[Utterance], longest: int, rng: np.random.Generator) -> list[Utterance]:
    wanted, string, length = int(rng.integers(2, MAX_UTTERANCES + 1)), [], 0
    for place in rng.permutation(len(pool)):
        if length + len(pool[place].units) <= longest:
            string.append(pool[place])
            length += len(pool[place].units)
        if len(string) == wanted:
            break
    return string


def _joined(name: str, string: list[Utterance]) -> Utterance:
    units = np.concatenate([one.units for one in string])
    durations = None
    if string[0].durations is not None:
        durations = np.concatenate([one.durations for one in string if one.durations is not None])
    return Utterance(name, units, " ".join(one.text for one in string), durations, dict(string[0].fields))
