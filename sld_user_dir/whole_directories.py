"""Directories that are filled beside their place, and then are whole there or absent, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import Iterator
from uuid import uuid4

from sld_user_dir.file_locks import READABLE_BY_ALL, HeldByAnotherError, file_lock
from sld_user_dir.whole_files import LOCK_SUFFIX, folder_to_disk, lock_of, naming_output, to_disk

_SCRATCH = "partial-"
_NUMBER = re.compile(r"\(os error (\d+)\)")


@contextlib.contextmanager
def scratch_directory(parent: Path) -> Iterator[Path]:
    """A new directory in `parent` to fill, which other users may read; removed at the end if it is still there.

    Those that killed processes left are removed first.
    """
    left = {path.name for path in parent.glob(f"{_SCRATCH}*")}
    left |= {path.name[1:].removesuffix(LOCK_SUFFIX) for path in parent.glob(f".{_SCRATCH}*{LOCK_SUFFIX}")}
    for name in left:
        with contextlib.suppress(OSError, HeldByAnotherError), file_lock(lock_of(parent / name), wait=False):
            shutil.rmtree(parent / name, ignore_errors=True)
    directory = parent / f"{_SCRATCH}{uuid4().hex[:12]}"
    with file_lock(lock_of(directory)):
        directory.mkdir()
        directory.chmod(0o755)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def publish_directory(filled: Path, target: Path) -> None:
    """Put a filled directory in its place; where another process was first, its directory stays."""
    _all_to_disk(filled)
    try:
        os.rename(filled, target)
    except OSError:
        if not target.is_dir():
            raise
    folder_to_disk(target.parent)


@contextlib.contextmanager
def filled_directory(target: Path, last: str = "config.json") -> Iterator[Path]:
    """A directory beside `target` to fill; at the end its files take their places in `target`, where others stay.

    For libraries that write many files of their own, such as `save_pretrained`. After an error `target` is as it was.

    Args:
        last: the file without which the others are not read; it is taken from `target` first and comes in last, so
            that nobody reads files of two writers.

    Raises:
        OutputError: the disk is full or read-only.
    """
    target = Path(target)
    with naming_output(target), _numbered_errors():
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch_directory(target.parent) as filled:
            yield filled
            _all_to_disk(filled)
            target.mkdir(exist_ok=True)
            if (filled / last).exists():
                (target / last).unlink(missing_ok=True)
            for path in sorted(filled.rglob("*"), key=lambda path: path.name == last):
                place = target / path.relative_to(filled)
                place.mkdir(exist_ok=True) if path.is_dir() else os.replace(path, place)
            folder_to_disk(target)


@contextlib.contextmanager
def _numbered_errors() -> Iterator[None]:
    """Errors of the system that libraries in Rust, such as safetensors, tell in words, as such of Python."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        found = _NUMBER.search(str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error


def _all_to_disk(filled: Path) -> None:
    """Every file of a directory, which whoever may read the directory may read (safetensors lets nobody else)."""
    umask = os.umask(0)
    os.umask(umask)
    for folder, _, names in os.walk(filled):
        for name in names:
            Path(folder, name).chmod(READABLE_BY_ALL & ~umask)
            to_disk(Path(folder, name))
        folder_to_disk(Path(folder))
