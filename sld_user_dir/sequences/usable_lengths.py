"""Examples that are too long for the model or for a batch: an error that names one, or left out, counted and named."""

from __future__ import annotations

import logging
from typing import Callable, NamedTuple, Optional

import numpy as np

from sld_user_dir.errors import InputError

logger = logging.getLogger(__name__)
SKIP_OPTION = "--skip-invalid-size-inputs-valid-test"
LINES_NAMED = 10


class LengthLimit(NamedTuple):
    """Most tokens of an example."""

    tokens: int
    by_batch: bool
    """it is `--max-tokens`, not the model's positions"""

    @classmethod
    def lower_of(cls, positions: int, max_tokens: Optional[int]) -> LengthLimit:
        """The model's positions, or where that is not higher the batch's limit."""
        return cls(positions, False) if max_tokens is None or max_tokens > positions else cls(max_tokens, True)

    def __str__(self) -> str:
        return f"--max-tokens {self.tokens}" if self.by_batch else f"{self.tokens} tokens"


def keep_usable(
    indices: np.ndarray,
    sizes: np.ndarray,
    name: Callable[[int], str],
    positions: int,
    max_tokens: Optional[int] = None,
    *,
    skip: bool = False,
    may_skip: bool = True,
) -> np.ndarray:
    """Those of `indices` that the model holds and that a batch takes, in their order.

    Args:
        sizes: tokens by index.
        name: how to call an index.
        positions: of the model; fairseq-train gives the batch's limit instead where that is lower.
        max_tokens: of a batch; None for any number.
        skip: leave others out, instead of an error.
        may_skip: the error tells of the option for that.

    Raises:
        InputError: names the first in order of index, and the limit that it exceeds.
    """
    limit = LengthLimit.lower_of(positions, max_tokens)
    too_long = np.sort(indices[sizes[indices] > limit.tokens])
    if not len(too_long):
        return indices
    if skip:
        names = ", ".join(name(int(i)) for i in too_long[:LINES_NAMED]) + ", …" * (len(too_long) > LINES_NAMED)
        logger.warning("%d of %d inputs are longer than %s and left out: %s", len(too_long), len(indices), limit, names)
        return indices[sizes[indices] <= limit.tokens]
    size, such = int(sizes[too_long[0]]), f" ({len(too_long)} such)" if len(too_long) > 1 else ""
    option = f", or leave such inputs out with {SKIP_OPTION}" if may_skip else ""
    if limit.by_batch:
        problem, remedy = f"{size} tokens exceed {limit}", f"at least --max-tokens {sizes[too_long].max()}"
        raise InputError(name(int(too_long[0])), problem, f"use {remedy}{option}")
    problem = f"{size} tokens, but the model holds {limit.tokens}{such}"
    raise InputError(name(int(too_long[0])), problem, f"shorten or remove it{option}")
