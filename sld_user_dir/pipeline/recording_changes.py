"""Whether recordings have changed since a stage read them: by size and time, since hashes of a corpus take hours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterable, Optional

from sld_user_dir.manifests.rejected import read_rejected, rejected_path

UNREADABLE = "-"
"""The state of a file that is not there or may not be read."""


def left_out_states(out: Path, since: Optional[float] = None) -> list[str]:
    """Lines `STATE<TAB>PATH` of the recordings that were left out of an output or a shard.

    Args:
        since: seconds since 1970; what has changed after it counts as unreadable before, since nobody knows what of it
            was read.

    Raises:
        InputError: the table of what was left out is none.
    """
    table = rejected_path(out)
    paths = [one.path for one in read_rejected(table)] if table.exists() else []
    return [f"{_state(path, since)}\t{path}" for path in paths]


def changed_since(lines: Iterable[str]) -> list[Path]:
    """Those of the files of `left_out_states` that can be read now and were not so then."""
    stated = [line.partition("\t") for line in lines]
    paths = {Path(path): state for state, _, path in stated}
    return [path for path, state in paths.items() if _state(path) not in (state, UNREADABLE)]


def newer_than(paths: Iterable[Path], made: Path) -> list[Path]:
    """Those of the files that were written after another one."""
    limit = made.stat().st_mtime
    return [path for path in dict.fromkeys(paths) if (found := _stat(path)) is not None and found.st_mtime > limit]


def _state(path: Path, since: Optional[float] = None) -> str:
    """Size, and time in whole seconds, which tar and rsync keep."""
    found = _stat(path)
    if found is None or (since is not None and found.st_ctime >= since) or not os.access(path, os.R_OK):
        return UNREADABLE
    return f"{found.st_size} {int(found.st_mtime)}"


def _stat(path: Path) -> Optional[os.stat_result]:
    try:
        return os.stat(path)
    except (OSError, ValueError):  # gone, or a name that no file has
        return None
