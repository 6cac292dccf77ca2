"""Locks on files that end with the process that holds them, however it ends.

The kernel keeps them (`flock`), so what a killed process held is free at once, also where its file is still there. On
file systems without such locks nobody waits. Forks of the holder do not share them: a worker that outlives it holds
nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from pathlib import Path
from typing import Iterator, Optional

logger = logging.getLogger(__name__)
READABLE_BY_ALL = 0o666  # less what the umask takes
_held: set[int] = set()


class HeldByAnotherError(Exception):
    """Another process holds the lock, and the caller does not want to wait."""


@contextlib.contextmanager
def file_lock(path: Path, what: Optional[str] = None, *, wait: bool = True) -> Iterator[None]:
    """Be the only process in here; `path` is made for the time being, and removed at the end.

    Args:
        what: is being worked on, for a line of the log where somebody else is at it.
        wait: until others are done.

    Raises:
        HeldByAnotherError: somebody is at it, and `wait` is False.
        OSError: `path` cannot be made.
    """
    descriptor = held_file(path, wait=False)
    if descriptor is None:
        if not wait:
            raise HeldByAnotherError(str(path))
        if what is not None:
            logger.warning("%s: another process is at work on it; waiting until it is done", what)
        descriptor = held_file(path, wait=True)
    assert descriptor is not None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before it is free: whoever waits for this one sees that it is gone
        release(descriptor)


def held_file(path: Path, *, wait: bool) -> Optional[int]:
    """Make or open a file and lock it; a descriptor for `release`, or None where another process has it.

    Raises:
        OSError: the file cannot be made.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, READABLE_BY_ALL)
        except FileNotFoundError:  # its folder was never there, or others have removed it meanwhile
            path.parent.mkdir(parents=True, exist_ok=True)
            continue
        _held.add(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            release(descriptor)
            return None
        except OSError:  # a file system without locks
            return descriptor
        if _is_still(path, descriptor):
            return descriptor
        release(descriptor)  # its former holder removed or renamed it meanwhile


def release(descriptor: int) -> None:
    """Free what `held_file` gave."""
    _held.discard(descriptor)
    os.close(descriptor)


def _forget() -> None:
    """In a fork: close its copies; the lock stays with the process that took it."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        there, held = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
