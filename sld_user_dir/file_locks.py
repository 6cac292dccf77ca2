"""Locks on files that end with the process that holds them, however it ends.

The kernel keeps them (`flock`), so what a killed process held is free at once, also where its file is still there. On
file systems without such locks nobody waits.
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
        os.close(descriptor)


def held_file(path: Path, *, wait: bool) -> Optional[int]:
    """Make or open a file and lock it; a descriptor, whose closing frees it, or None where another process has it.

    Raises:
        OSError: the file cannot be made.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, READABLE_BY_ALL)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # a file system without locks
            return descriptor
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # its former holder removed or renamed it meanwhile


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        there, held = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
