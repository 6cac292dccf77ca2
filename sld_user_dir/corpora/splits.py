"""Training, validation and test sets of any corpus of recordings, by a hash: nobody chooses.

A set is decided by the SHA-256 of a key, by default the transcript: what is said in one set is
said in no other, word for word. It depends neither on order nor on what else is in the corpus.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import replace
from typing import Callable, Sequence

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.audio_manifest import Recording

SHARES = {"test": 0.1, "valid": 0.1}  # the rest is training
KEYS: dict[str, Callable[[Recording], str]] = {
    "text": lambda one: one.text,
    "recording": lambda one: one.id,
    "speaker": lambda one: one.speaker,
}


class SplitError(InputError):
    """A corpus that cannot be split as asked."""


def plain_text(text: str) -> str:
    """Lower case, apostrophes within words kept, all other punctuation and symbols a space."""
    letters = [c if unicodedata.category(c)[0] in "LMN" else "'" if c in "'’" else " " for c in text.lower()]
    words = (word.strip("'") for word in "".join(letters).split())
    return " ".join(word for word in words if word)


def subset_of(key: str) -> str:
    """`test`, `valid` or `train`."""
    draw = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 16**8
    for subset, share in SHARES.items():
        if draw < share:
            return subset
        draw -= share
    return "train"


def split_recordings(recordings: Sequence[Recording], by: str = "text") -> dict[str, list[Recording]]:
    """Recordings by set, transcripts made plain; those with nothing left to read are dropped.

    Args:
        by: what is kept together: `text`, `recording` or `speaker`.

    Raises:
        SplitError: unknown `by`, a speaker is missing, or a set comes out empty.
    """
    if by not in KEYS:
        raise SplitError(f"--split-by {by}", "no such way to split", f"split by one of {', '.join(KEYS)}")
    sets: dict[str, list[Recording]] = {"train": [], "valid": [], "test": []}
    for one in (replace(r, text=plain_text(r.text)) for r in recordings):
        if not one.text:
            continue
        key = KEYS[by](one)
        if not key:
            raise SplitError(one.id, f"no {by} to split by", f"split by {' or '.join(k for k in KEYS if k != by)}")
        sets[subset_of(key)].append(one)
    empty = [name for name, members in sets.items() if not members]
    if empty:
        kinds = len({KEYS[by](one) for members in sets.values() for one in members})
        raise SplitError(
            None,
            f"no recording falls into {' and '.join(empty)}: {kinds} different values to split by ({by}) are too few",
            f"split by {' or '.join(k for k in KEYS if k != by)}, or give more recordings",
        )
    return sets


def describe_split(sets: dict[str, list[Recording]], by: str) -> str:
    """Two lines: how large the sets are, and how many of the test set's words training never hears."""
    sizes = ", ".join(
        f"{name} {len(members)} recordings, {sum(one.seconds or 0.0 for one in members) / 60:.1f} min, "
        f"{sum(len(one.text.split()) for one in members)} words"
        for name, members in sets.items()
    )
    unseen = unseen_words([one.text for one in sets["train"]], [one.text for one in sets["test"]])
    return f"split by a hash of the {by}: {sizes}\n{100 * unseen:.1f} % of the test set's words are in no training text"


def unseen_words(train: Sequence[str], test: Sequence[str]) -> float:
    """Share of the words of `test` that no transcript of `train` holds."""
    known = {word for text in train for word in text.split()}
    words = [word for text in test for word in text.split()]
    return sum(word not in known for word in words) / len(words)
