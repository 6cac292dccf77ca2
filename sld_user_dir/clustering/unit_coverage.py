"""Whether there is speech enough for so many units, and whether all of them are used."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import numpy.typing as npt

FEWEST_FRAMES_PER_UNIT = 10
"""A centroid is the mean of its frames: of fewer it is a picture of single ones, and other speech misses it."""


def few_frames(n_frames: int, num_units: int) -> Optional[str]:
    """What to say where a k-means learns from so few frames, or None."""
    if n_frames >= FEWEST_FRAMES_PER_UNIT * num_units:
        return None
    most = n_frames // FEWEST_FRAMES_PER_UNIT
    remedy = "give more speech" if most < 2 else f"give more speech, or take {most} units at most"
    return (
        f"{n_frames} frames for {num_units} units are fewer than {FEWEST_FRAMES_PER_UNIT} a unit, "
        f"of which many will stand for single frames and never be used: {remedy}"
    )


def unused_units(counts: npt.NDArray[np.integer[Any]]) -> Optional[str]:
    """What to say of units that never occur, from how often each does (K,), or None.

    Nothing is said of so few frames that good units would be missing by chance.
    """
    unused = int((counts == 0).sum())
    if not unused or counts.sum() < FEWEST_FRAMES_PER_UNIT * len(counts):
        return None
    return (
        f"{unused} of {len(counts)} units never occur in {int(counts.sum())} frames: "
        "a vocabulary holds them for nothing; take fewer units, or learn them from speech of this kind"
    )
