"""The numbers of a recording in a table: its length and rate, and the factors of its speed and warp."""

from __future__ import annotations

import math
from typing import Callable, Optional

from sld_user_dir.errors import InputError
from sld_user_dir.files import whole_number

REMEDY = "n_samples and sample_rate are whole numbers, or empty; speed and warp are numbers"


def speed_problem(speed: float) -> Optional[str]:
    """Why a number is no speed; None where it is one."""
    return None if 0 < speed < math.inf else "a speed is a factor above 0"


def warp_problem(warp: float) -> Optional[str]:
    """Why a number is no warp, by which Kaldi's warping is one-to-one; None where it is one."""
    return None if 0.5 <= warp <= 2 else "a warp is a factor from 0.5 to 2"


def taken_count(row: dict[str, str], name: str, where: str, error: type[InputError], least: int = 0) -> Optional[int]:
    """Take a column of whole numbers from a row; None where it is missing or empty.

    Raises:
        InputError: of the kind `error`, at `where`: another value than a whole number from `least` on.
    """
    text = row.pop(name, "")
    if not text:
        return None
    count = whole_number(text)
    if count is None or count < least:
        raise error(where, f"{name} {text!r} is no whole number from {least} on", REMEDY)
    return count


def taken_factor(
    row: dict[str, str], name: str, where: str, error: type[InputError], problem_of: Callable[[float], Optional[str]]
) -> float:
    """Take a column of factors from a row; 1 where it is missing or empty.

    Raises:
        InputError: of the kind `error`, at `where`: no number, or one with a problem.
    """
    text = row.pop(name, "")
    try:
        factor = float(text or 1.0)
    except ValueError:
        raise error(where, f"{name} {text!r} is no number", REMEDY) from None
    problem = problem_of(factor)
    if problem:
        raise error(where, f"{name} {text}: {problem}", "correct it; empty, it is 1")
    return factor
