"""What shows in its container that a recording is not whole, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

RESTORE = "copy it again from its source; if it is whole there too, write it anew by sox or ffmpeg"
SEPARATE = "keep each of them in a file of its own, or join them by sox"


@dataclass(frozen=True)
class ContainerFault:
    """A problem, and its remedy."""

    problem: str
    remedy: str = RESTORE


def joined(container: str) -> ContainerFault:
    """Files that were written one behind the other (`cat a b`), of which libsndfile reads the first."""
    return ContainerFault(
        f"several {container} files one behind the other, of which only the first can be read", SEPARATE
    )
