"""Files that are either whole or absent, and the lines of text files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Iterable, Iterator

from sld_user_dir.arrays import PathLike
from sld_user_dir.errors import InputError, line_of


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """A path beside `path` to write to; renamed over it at the end, removed on an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_directory(parent: Path) -> Iterator[Path]:
    """A new directory in `parent` to fill, which other users may read; removed at the end if it is still there."""
    directory = Path(tempfile.mkdtemp(prefix="partial-", dir=parent))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def publish_directory(filled: Path, target: Path) -> None:
    """Put a filled directory in its place; where another process was first, its directory stays."""
    try:
        os.rename(filled, target)
    except OSError:
        if not target.is_dir():
            raise


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """One process at a time; on file systems without locks, none waits."""
    with path.open("w") as stream:
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def read_lines(
    path: PathLike, error: type[InputError] = InputError, *, keep_carriage_returns: bool = False
) -> list[str]:
    """All lines of a UTF-8 file, without their ends.

    Args:
        error: the kind of error to raise.
        keep_carriage_returns: a carriage return before a line feed belongs to the line, not to its end.

    Raises:
        InputError: of the kind `error`: no such file, or bytes that are not UTF-8, with their line.
    """
    return list(iter_lines(path, error, keep_carriage_returns=keep_carriage_returns))


def iter_lines(
    path: PathLike, error: type[InputError] = InputError, *, keep_carriage_returns: bool = False
) -> Iterator[str]:
    """What `read_lines` gives, line by line, for files of which only the beginning may be wanted.

    Raises:
        InputError: as `read_lines`, when the line is reached.
    """
    try:
        with open(path, "rb") as raw:
            yield from decode_lines(raw, path, error, keep_carriage_returns=keep_carriage_returns)
    except OSError as problem:
        raise error(path, problem.strerror or str(problem), "check the path") from problem


def decode_lines(
    raw: Iterable[bytes], path: PathLike, error: type[InputError] = InputError, *, keep_carriage_returns: bool = False
) -> Iterator[str]:
    r"""Lines of bytes as text without their ends.

    A line ends at a line feed and nowhere else: texts may hold U+2028, form feeds and whatever else
    `str.splitlines` splits at.

    Args:
        raw: lines with their ends, such as an open binary file.
        path: the file that errors name.

    Raises:
        InputError: of the kind `error`: bytes that are not UTF-8, with their line.
    """
    for number, line in enumerate(raw, 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as problem:
            raise error(
                line_of(path, number), f"byte 0x{line[problem.start]:02x} is not UTF-8", "save the file as UTF-8"
            ) from None
        text = text.removesuffix("\n")
        yield text if keep_carriage_returns else text.removesuffix("\r")
