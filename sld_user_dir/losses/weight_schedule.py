"""A term's weight that changes while the model trains: to listen first and write then, or the other way round."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional

from sld_user_dir.errors import InputError


@dataclass(frozen=True)
class WeightSchedule:
    """A weight that goes in a straight line from `start` to `end` within `updates` updates, and stays there."""

    start: float
    end: float
    updates: int

    @classmethod
    def of(cls, options: Any, name: str) -> Optional[WeightSchedule]:
        """That of the option `name`, which `NAME_end` and `NAME_updates` ask for; None without them.

        Raises:
            InputError: one of the two without the other, or an end below 0 or not finite.
        """
        end, updates = getattr(options, f"{name}_end"), getattr(options, f"{name}_updates")
        option = f"--{name.replace('_', '-')}"
        if (end is None) != (updates == 0) or updates < 0:
            raise InputError(
                f"{option}-end {end}, {option}-updates {updates}",
                "a schedule has an end and a number of updates, 1 or more, in which it is reached",
                "give both or none",
            )
        if end is None:
            return None
        if not 0 <= end < math.inf:
            raise InputError(f"{option}-end {end}", "no weight may be below 0", "0 ends the term")
        return cls(getattr(options, name), end, updates)

    def weight_at(self, update: Optional[int]) -> float:
        """The weight at an update, counted from 0; None: when the training has ended."""
        if update is None or update >= self.updates:
            return self.end
        return self.start + (self.end - self.start) * update / self.updates
