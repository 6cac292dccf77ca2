"""How the noise of the sampled units falls off over training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sld_user_dir.errors import InputError


@dataclass(frozen=True)
class TemperatureSchedule:
    """T(u) = max(last, first * decay^u) at update u.

    Raises:
        InputError: a temperature that is not above 0, or a decay that is none.
    """

    first: float = 2.0
    last: float = 0.1
    decay: float = 0.999995

    def __post_init__(self) -> None:
        where = f"--unit-temperature ({self.first:g}, {self.last:g}, {self.decay:g})"
        if not 0 < self.last <= self.first < math.inf:
            raise InputError(where, "no temperatures", "the first must be at least the last, and both above 0")
        if not 0 < self.decay <= 1:
            raise InputError(where, "it would not fall", "choose a decay above 0 and at most 1")

    @classmethod
    def parse(cls, text: str) -> TemperatureSchedule:
        """Of `first,last,decay`, as in `2.0,0.1,0.9995`.

        Raises:
            InputError: not three numbers.
        """
        try:
            first, last, decay = (float(part) for part in text.split(","))
        except ValueError:
            raise InputError(
                f"--unit-temperature {text}", "not three numbers", "give FIRST,LAST,DECAY as in 2.0,0.1,0.9995"
            ) from None
        return cls(first, last, decay)

    def at(self, update: int) -> float:
        """The temperature of an update, counted from 0."""
        return max(self.last, self.first * self.decay**update)
