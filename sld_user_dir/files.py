"""The lines of text files; and, from `whole_files`, files that are either whole or absent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Iterable, Iterator, Optional

from sld_user_dir.arrays import PathLike
from sld_user_dir.errors import InputError, line_of, opening_remedy
from sld_user_dir.whole_directories import filled_directory as filled_directory
from sld_user_dir.whole_directories import publish_directory as publish_directory
from sld_user_dir.whole_directories import scratch_directory as scratch_directory
from sld_user_dir.whole_files import OutputError as OutputError
from sld_user_dir.whole_files import atomic_path as atomic_path
from sld_user_dir.whole_files import naming_output as naming_output
from sld_user_dir.whole_files import output_lock as output_lock

MAX_LINE_BYTES = 1 << 26
"""Longer lines are no text of ours: the units of a recording of three days take less."""
MAX_WHOLE_BYTES = 1 << 28
"""Larger files are not read in one piece."""
LONGEST_NUMBER = 18
"""Digits of a count."""
BYTE_ORDER_MARK = "\ufeff"
_MARK = BYTE_ORDER_MARK.encode()
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_NO_TEXT = (
    (b"\xff\xfe\0\0", "UTF-32", "convert it: iconv -f UTF-32 -t UTF-8"),
    (b"\0\0\xfe\xff", "UTF-32", "convert it: iconv -f UTF-32 -t UTF-8"),
    (b"\xff\xfe", "UTF-16", "convert it: iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "UTF-16", "convert it: iconv -f UTF-16 -t UTF-8"),
    (b"\x1f\x8b", "compressed by gzip", "decompress it: gunzip"),
)
"""How files begin that are given as text and are none: what they are, and what to do."""
LFS_REMEDY = "fetch the file itself: git lfs pull"


def read_lines(
    path: PathLike, error: type[InputError] = InputError, *, keep_blank_end: bool = False, keep_marks: bool = False
) -> list[str]:
    """All lines of a UTF-8 text file, without their ends: the rules of `decode_lines`.

    Args:
        error: the kind of error to raise.
        keep_blank_end: blank lines at the end of the file are lines, too: where a line can be an empty text.
        keep_marks: a byte order mark that begins a line belongs to it.

    Raises:
        InputError: of the kind `error`: no such file, or no UTF-8 text in it; names the line.
    """
    return list(iter_lines(path, error, keep_blank_end=keep_blank_end, keep_marks=keep_marks))


def iter_lines(
    path: PathLike, error: type[InputError] = InputError, *, keep_blank_end: bool = False, keep_marks: bool = False
) -> Iterator[str]:
    """What `read_lines` gives, line by line, for files of which only the beginning may be wanted.

    Raises:
        InputError: as `read_lines`, when the line is reached.
    """
    try:
        with open(path, "rb") as raw:
            lines = decode_lines(raw, path, error, keep_marks=keep_marks)
            yield from lines if keep_blank_end else without_blank_end(lines)
    except OSError as problem:
        raise error(path, problem.strerror or str(problem), opening_remedy(problem)) from problem


def decode_lines(
    raw: Iterable[bytes], path: PathLike, error: type[InputError] = InputError, *, keep_marks: bool = False
) -> Iterator[str]:
    r"""Lines of bytes as text: the one place that says what a line is.

    A line ends at a line feed, one carriage return before it included, and nowhere else: U+2028, form feeds and
    whatever else `str.splitlines` splits at belong to the text. A byte order mark at the start of a line is dropped
    (files that were joined have some inside, too).

    Args:
        raw: lines with their ends, such as an open binary file.
        path: the file that errors name.

    Raises:
        InputError: of the kind `error`: bytes that are not UTF-8, a NUL, an endless line, or a Git LFS pointer.
    """
    for number, line in enumerate(bounded_lines(raw), 1):
        if number == 1:
            _refuse_other_kinds(line, path, error)
        if len(line) > MAX_LINE_BYTES:
            problem = f"a line of more than {MAX_LINE_BYTES >> 20} MiB"
            raise error(line_of(path, number), problem, "is this the right file? Such lines are not read")
        if b"\0" in line:
            problem = "a NUL character: UTF-16 without a byte order mark, or no text at all"
            raise error(line_of(path, number), problem, "save the file as UTF-8")
        try:
            yield (bare_line_with_mark(line) if keep_marks else bare_line(line)).decode("utf-8")
        except UnicodeDecodeError as problem:
            raise error(
                line_of(path, number),
                f"byte 0x{problem.object[problem.start]:02x} is not UTF-8",
                "save the file as UTF-8 (from Latin-1: iconv -f LATIN1 -t UTF-8)",
            ) from None


def bounded_lines(raw: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of an open file, so that an endless one can be refused before it fills the memory.

    It comes cut, one byte longer than `MAX_LINE_BYTES`. Other iterables come as they are.
    """
    readline = getattr(raw, "readline", None)
    if readline is None:
        yield from raw
        return
    while line := readline(MAX_LINE_BYTES + 1):
        yield line


def bare_line(line: bytes) -> bytes:
    """A line of UTF-8 without its end and without byte order marks before it; see `decode_lines`."""
    line = bare_line_with_mark(line)
    while line.startswith(_MARK):
        line = line[len(_MARK) :]
    return line


def bare_line_with_mark(line: bytes) -> bytes:
    """A line of UTF-8 without its end."""
    return line.removesuffix(b"\n").removesuffix(b"\r")


def without_blank_end(lines: Iterable[str]) -> Iterator[str]:
    """The lines up to the last one that holds more than white space."""
    blank: list[str] = []
    for line in lines:
        if not line.strip():
            blank.append(line)
            continue
        yield from blank
        blank.clear()
        yield line


def _refuse_other_kinds(line: bytes, path: PathLike, error: type[InputError]) -> None:
    if line.startswith(_LFS_POINTER):
        raise error(path, "a Git LFS pointer, not the file itself", LFS_REMEDY)
    for start, kind, remedy in _NO_TEXT:
        if line.startswith(start):
            raise error(line_of(path, 1), f"the file is {kind}, not UTF-8 text", remedy)


def read_text(path: PathLike, error: type[InputError] = InputError) -> str:
    """A whole UTF-8 text file, its lines ended by line feeds: the rules of `decode_lines`.

    Raises:
        InputError: as `read_lines`.
    """
    try:
        with open(path, "rb") as raw:
            content = raw.read(MAX_WHOLE_BYTES + 1)
    except OSError as problem:
        raise error(path, problem.strerror or str(problem), opening_remedy(problem)) from problem
    _refuse_large(path, len(content), error)
    return "\n".join(decode_lines(content.split(b"\n"), path, error))


def read_json(path: PathLike, error: type[InputError] = InputError) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: as `read_lines`; or it is not JSON, with the line.
    """
    try:
        return parse_json(read_text(path, error).rstrip())
    except json.JSONDecodeError as problem:
        raise error(line_of(path, problem.lineno), f"not JSON ({problem.msg})", "correct the file") from None


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        json.JSONDecodeError: it is none; or it is nested too deep, or holds an integer of thousands of digits, of
            which Python's own reader tells in other ways.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("nested too deep", text, 0) from None
    except ValueError:
        raise json.JSONDecodeError("an integer of too many digits", text, 0) from None


def whole_number(text: str) -> Optional[int]:
    """A number from 0 on in decimal digits, white space around it aside; None where it is none.

    Nor is what has more digits than any count here: of thousands Python's own reader tells in words of its own.
    """
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) <= LONGEST_NUMBER else None


def _refuse_large(path: PathLike, n_bytes: int, error: type[InputError]) -> None:
    if n_bytes > MAX_WHOLE_BYTES:
        problem = f"a file of more than {MAX_WHOLE_BYTES >> 20} MiB, which is not read in one piece"
        raise error(path, problem, "is this the right file?")


def read_log(path: PathLike) -> list[str]:
    """Lines of what a program printed, those of progress bars too; none where there is no such file.

    Bytes that are not UTF-8 are replaced: a log is read for what it says, and is nobody's data.
    """
    path = Path(path)
    text = path.read_bytes().decode("utf-8", "replace") if path.exists() else ""
    return [line for line in text.replace("\r", "\n").split("\n") if line]


def sha256_of(path: PathLike) -> str:
    """Of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def is_lfs_pointer(path: PathLike) -> bool:
    """Whether a file is what Git LFS leaves in the place of one that was not fetched."""
    try:
        with open(path, "rb") as raw:
            return raw.read(len(_LFS_POINTER)) == _LFS_POINTER
    except OSError:
        return False


def directory_or_name(source: str) -> str:
    """The source of a pretrained model, unless it is a file: transformers would ask a hub for it, again and again.

    Raises:
        NotADirectoryError: it is a file.
    """
    if Path(source).is_file():
        raise NotADirectoryError("it is a file, not a directory of save_pretrained")
    return source


def refuse_lfs_pointer(path: PathLike, error: type[InputError] = InputError) -> None:
    """Say so where a file that is no text, or one in a folder of such, is only a pointer of Git LFS.

    Raises:
        InputError: of the kind `error`.
    """
    path = Path(path)
    for one in sorted(path.iterdir()) if path.is_dir() else [path]:
        if is_lfs_pointer(one):
            raise error(one, "a Git LFS pointer, not the file itself", LFS_REMEDY)


def unwritable(value: str) -> Optional[str]:
    """Why a text would not come back from a line as it is; None where it would.

    A line that begins with a byte order mark would not, either: see `unwritable_line`.
    """
    for character, name in (("\n", "a line break"), ("\r", "a carriage return"), ("\0", "a NUL character")):
        if character in value:
            return f"contains {name}"
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return "is not UTF-8"
    return None


def without_returns(value: str) -> str:
    """A text as tables can hold it, with spaces for carriage returns: within a line they are white space.

    See docs/interop.md, Text files.
    """
    return value.replace("\r", " ")


def unwritable_line(line: str) -> Optional[str]:
    """Why a whole line would not come back as it is; None where it would."""
    return "begins with a byte order mark" if begins_with_mark(line) else unwritable(line)


def begins_with_mark(line: str) -> bool:
    """Whether a line's first character would be dropped as a byte order mark."""
    return line.startswith(BYTE_ORDER_MARK)


def printable(value: str) -> str:
    r"""A text for one column of one line, in which tabs and what `unwritable` refuses are escapes, as in `caf\xe9`."""
    for character, escape in (("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r"), ("\0", r"\0")):
        value = value.replace(character, escape)
    if begins_with_mark(value):
        value = r"\ufeff" + value[1:]
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
