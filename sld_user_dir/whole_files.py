"""Files that are either whole or absent, whatever happens to the process, or the machine's power."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Iterator
from uuid import uuid4

from sld_user_dir.arrays import PathLike
from sld_user_dir.errors import InputError
from sld_user_dir.file_locks import file_lock, held_file, release


class OutputError(InputError):
    """A file that cannot be written, for a reason outside of this program: a full disk, a folder that is read-only."""


_UNWRITABLE = {
    errno.ENOSPC: ("no space is left on its disk", "free some, or write to another disk"),
    errno.EDQUOT: ("the disk quota is used up", "free some, or write to another disk"),
    errno.EFBIG: ("it would be larger than files may be here", "raise the limit (ulimit -f), or write elsewhere"),
    errno.EROFS: ("its file system is read-only", "write to another folder"),
    errno.EACCES: ("no permission to write there", "write to another folder, or have its owner allow it"),
    errno.EPERM: ("no permission to write there", "write to another folder, or have its owner allow it"),
    errno.EIO: ("the disk does not take it (input/output error)", "write to another disk"),
}
INTACT = "what was there before is intact"
LOCK_SUFFIX = ".lock"


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """A path beside `path` to write to; renamed over it at the end, removed on an error.

    What a killed process left at that path is written over by the next one, and nothing else is ever left.

    Raises:
        OutputError: the disk is full or read-only; what was at `path` before is still there.
        InputError: a name or text to be written is not UTF-8.
    """
    path = Path(path)
    with naming_output(path), _aside(path) as aside:
        yield aside
        to_disk(aside)
        os.replace(aside, path)
        folder_to_disk(path.parent)


def to_disk(path: Path) -> None:
    """Have the system write a file's bytes to its disk; else a name can outlive a loss of power and they not."""
    with path.open("rb") as written:
        os.fsync(written.fileno())


def folder_to_disk(folder: Path) -> None:
    """The same of the names in a folder, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse it, and have the name by then
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _aside(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    descriptor = held_file(aside, wait=False)
    if descriptor is None:  # another process writes the same file: the last one to end gives it its content
        aside = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")
        descriptor = held_file(aside, wait=False)
        assert descriptor is not None
    try:
        os.ftruncate(descriptor, 0)
        yield aside
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    finally:
        release(descriptor)


@contextlib.contextmanager
def naming_output(path: PathLike) -> Iterator[None]:
    """Errors of a disk that takes no more, and of text that has no bytes, which name no file, as errors about `path`.

    Raises:
        OutputError: the disk takes no more. Errors of other files pass as they are.
        InputError: a name or text to be written has no form in the file's encoding.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        problem = f"cannot be written: {_unencodable(error)!r} in it is not {error.encoding.upper()}"
        raise InputError(path, problem, f"rename or correct what it comes from; {INTACT}") from error
    except OSError as error:
        if error.errno not in _UNWRITABLE or not _concerns(error, Path(path)):
            raise
        problem, remedy = _UNWRITABLE[error.errno]
        raise OutputError(path, f"cannot be written: {problem}", f"{remedy}; {INTACT}") from error


def _unencodable(error: UnicodeEncodeError) -> str:
    """The characters at fault with a few before and behind them, of the same line."""
    before = error.object[max(0, error.start - 20) : error.start].rpartition("\n")[2]
    return before + error.object[error.start : error.end + 20].partition("\n")[0]


def _concerns(error: OSError, path: Path) -> bool:
    """Whether an error is about writing `path`: about it, its folders or what is beside it, or a full disk."""
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename))
    return named in (path, *path.parents) or named.name.startswith(f".{path.name}.")


@contextlib.contextmanager
def output_lock(path: PathLike) -> Iterator[None]:
    """Be the only process that makes `path`, and what belongs to it; others wait and say so.

    Raises:
        OutputError: the folder cannot be written to.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        with naming_output(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(file_lock(lock_of(path), str(path)))
        yield


def lock_of(path: Path) -> Path:
    """The file that is locked while others are kept from making `path`."""
    return path.with_name(f".{path.name}{LOCK_SUFFIX}")
