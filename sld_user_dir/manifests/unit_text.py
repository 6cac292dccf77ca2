"""Units and durations as text: `71 12 57`."""

from __future__ import annotations

import warnings
from typing import Iterable

import numpy as np


def parse_numbers(text: str) -> np.ndarray:
    """`71 12 57` to int32 [N].

    Raises:
        ValueError: anything but whole numbers from 0 to 2^31 - 1, separated by spaces.
    """
    if not text.replace(" ", "").isdecimal() or not text.isascii():
        raise ValueError("not a list of whole numbers separated by spaces")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy only warns about what it cannot read
        numbers = np.fromstring(text, dtype=np.int64, sep=" ")
    if numbers.size and numbers.max() > np.iinfo(np.int32).max:
        raise ValueError(f"{numbers.max()} is no unit id")
    return numbers.astype(np.int32)


def format_numbers(numbers: Iterable[int]) -> str:
    """`71 12 57` of raw units or durations [N]."""
    return " ".join(map(str, np.asarray(numbers).tolist()))
