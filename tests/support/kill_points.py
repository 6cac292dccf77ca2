"""Ends this process by SIGKILL before the n-th change that it makes to files, or counts those changes.

`KILL_AT` in the environment is n, or 0 to count; `KILL_BELOW` is the folder whose files count, and `KILL_COUNT` the
file that the number of changes is written to as the process ends by itself.
"""

import atexit
import os
import signal
import sys
from pathlib import Path
from typing import Any

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.copyfile"}


def arm() -> None:
    """Watch this process's changes by Python's audit events; those of C libraries have none."""
    kill_at, below, count = int(os.environ["KILL_AT"]), os.environ["KILL_BELOW"], os.environ["KILL_COUNT"]
    changes, watched = [0], os.getpid()

    def watch(event: str, arguments: Any) -> None:
        if not _is_change(event, arguments, below) or os.getpid() != watched:
            return
        changes[0] += 1
        if changes[0] == kill_at:
            os.kill(watched, signal.SIGKILL)

    sys.addaudithook(watch)
    if kill_at == 0:
        atexit.register(lambda: Path(count).write_text(str(changes[0])))


def _is_change(event: str, arguments: Any, below: str) -> bool:
    if event == "open":
        path, _, flags = arguments
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) and _is_below(path, below)
    return event in CHANGES and (event == "os.truncate" or _is_below(arguments[0], below))


def _is_below(path: Any, below: str) -> bool:
    return isinstance(path, (str, bytes, os.PathLike)) and os.path.abspath(os.fsdecode(path)).startswith(below)
