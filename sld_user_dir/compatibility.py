"""Features that exclude each other.

Each declares so beside its own code, and `refuse_conflicts` checks in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import FrozenSet, Iterable

from sld_user_dir.errors import InputError


@dataclass(frozen=True)
class Conflict:
    """Features that can't be had together.

    Attributes:
        features: names of two or more, the command line option where there is one.
        problem: why not.
        remedy: what to do instead.
    """

    features: FrozenSet[str]
    problem: str
    remedy: str


class ConflictError(InputError):
    """Two options, or an option and a model or vocabulary, that exclude each other."""


def refuse_conflicts(active: Iterable[str], conflicts: Iterable[Conflict]) -> None:
    """Check the features of a run.

    Raises:
        ConflictError: the first conflict all of whose features are active.
    """
    present = set(active)
    for conflict in conflicts:
        if conflict.features <= present:
            raise ConflictError(" with ".join(sorted(conflict.features)), conflict.problem, conflict.remedy)
