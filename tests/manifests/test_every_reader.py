"""Strange forms of text files, kind by kind, in every reader that there is: the same value, or an error by name."""

import gzip
import re
from pathlib import Path
from typing import Callable, Dict

import pytest
from support.text_readers import READERS, TWO_WORDS, UNIT_FILES, TextReader, units

from sld_user_dir.errors import InputError
from sld_user_dir.interop.detection import detect

MARK = "\ufeff".encode()


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def value(reader: TextReader, folder: Path, change: Callable[[bytes], bytes] = bytes):
    folder.mkdir()
    reader.write(folder, change)
    return relative(reader.read(folder), folder)


def relative(value, folder: Path):
    """Without the names of folders, which differ from one writing to the next."""
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [relative(one, folder) for one in value]
    return value.name if isinstance(value, Path) else value


def mark_before_the_last_line(content: bytes) -> bytes:
    """As of two files that were joined."""
    start = content.rstrip(b"\n").rfind(b"\n") + 1
    return content[:start] + MARK + content[start:]


SAME: Dict[str, Callable[[bytes], bytes]] = {
    "line ends of Windows": lambda content: content.replace(b"\n", b"\r\n"),
    "mixed line ends": lambda content: content.replace(b"\n", b"\r\n", 1),
    "byte order mark": lambda content: MARK + content,
    "two byte order marks": lambda content: MARK + MARK + content,
    "byte order mark and line ends of Windows": lambda content: MARK + content.replace(b"\n", b"\r\n"),
    "byte order mark within": mark_before_the_last_line,
    "no line end at the end": lambda content: content.removesuffix(b"\n"),
    "carriage return at the end": lambda content: content.removesuffix(b"\n") + b"\r",
    "blank line at the end": lambda content: content + b"\n",
    "blank lines at the end": lambda content: content + " \r\n\t\n\u2028\n\n".encode(),
}


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_forms_of_the_same_text(reader, kind, tmp_path):
    if reader.file == "dict.txt" and kind == "byte order mark within":
        with pytest.raises(InputError, match=r"is '\\ufeff<u8>', expected '<u8>'"):  # it can be a part of a symbol
            value(reader, tmp_path / "changed", SAME[kind])
        return
    assert value(reader, tmp_path / "changed", SAME[kind]) == value(reader, tmp_path / "plain")


SEPARATORS = {"U+2028": "\u2028", "U+2029": "\u2029", "U+0085": "\x85", "form feed": "\x0c", "vertical tab": "\x0b"}
SEPARATORS |= {"file separator": "\x1c", "no-break space": "\xa0", "ideographic space": "\u3000", "CR": "\r"}


WITH_SPACE = [
    pytest.param(reader, separator, id=f"{reader.name}-{name}")
    for reader in READERS
    for name, separator in SEPARATORS.items()
    if TWO_WORDS in reader.content and not (name == "CR" and reader.file.endswith(".csv"))  # there it ends a line
]


@pytest.mark.parametrize("reader, separator", WITH_SPACE)
def test_what_is_no_end_of_a_line_is_white_space_within_it(reader, separator, tmp_path):
    instead = separator.encode()
    if reader.file.endswith((".json", ".jsonl")) and separator < " ":
        instead = f"\\u{ord(separator):04x}".encode()  # JSON wants control characters written so
    change = lambda content: content.replace(TWO_WORDS.encode(), TWO_WORDS.encode().replace(b" ", instead))  # noqa: E731
    assert value(reader, tmp_path / "changed", change) == value(reader, tmp_path / "plain")


def last_line(reader: TextReader) -> str:
    return f"{re.escape(reader.file)}:{reader.n_lines}: "


REFUSED = {
    "Latin-1": (
        lambda content: content.removesuffix(b"\n") + b"\xe9\n",
        last_line,
        r"byte 0xe9 is not UTF-8; save the file as UTF-8 \(from Latin-1: iconv -f LATIN1 -t UTF-8\)",
    ),
    "UTF-16": (
        lambda content: content.decode().encode("utf-16"),
        lambda reader: f"{re.escape(reader.file)}:1: ",
        r"the file is UTF-16, not UTF-8 text; convert it: iconv -f UTF-16 -t UTF-8",
    ),
    "UTF-16, big-endian": (
        lambda content: b"\xfe\xff" + content.decode().encode("utf-16-be"),
        lambda reader: f"{re.escape(reader.file)}:1: ",
        r"the file is UTF-16, not UTF-8 text; convert it: iconv -f UTF-16 -t UTF-8",
    ),
    "UTF-16 without a mark": (
        lambda content: content.decode().encode("utf-16-le"),
        lambda reader: rf"{re.escape(reader.file)}:\d+: ",
        r"(a NUL character: UTF-16 without a byte order mark, .*|byte 0x\w\w is not UTF-8); save the file as UTF-8",
    ),
    "UTF-32": (
        lambda content: content.decode().encode("utf-32"),
        lambda reader: f"{re.escape(reader.file)}:1: ",
        r"the file is UTF-32, not UTF-8 text; convert it: iconv -f UTF-32 -t UTF-8",
    ),
    "NUL": (
        lambda content: content.removesuffix(b"\n") + b"\0\n",
        last_line,
        "a NUL character: UTF-16 without a byte order mark, or no text at all; save the file as UTF-8",
    ),
    "gzip": (
        gzip.compress,
        lambda reader: f"{re.escape(reader.file)}:1: ",
        "the file is compressed by gzip, not UTF-8 text; decompress it: gunzip",
    ),
    "Git LFS pointer": (
        lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n",
        lambda reader: f"{re.escape(reader.file)}: ",
        "a Git LFS pointer, not the file itself; fetch the file itself: git lfs pull",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_what_is_no_text_in_utf8_is_named(reader, kind, tmp_path):
    change, where, message = REFUSED[kind]
    with pytest.raises(InputError, match=where(reader) + message):
        value(reader, tmp_path / "changed", change)


# -- formats of units -----------------------------------------------------------------------
LINES = [name for name in UNIT_FILES if name != "s2ut"]


def written(name: str, folder: Path, n_copies: int, odd: str, at: int) -> Path:
    """A file of many lines of a format, with an odd one among them."""
    files = UNIT_FILES[name]
    main = next(iter(files))
    lines = files[main].rstrip("\n").split("\n")
    lines = lines * n_copies
    lines.insert(at - 1, odd)
    (folder / main).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / main


@pytest.mark.parametrize("odd", ["", "# a remark", "nonsense", "b 1|x\ty"], ids=["blank", "remark", "word", "mixed"])
@pytest.mark.parametrize("at", [1, 4])
@pytest.mark.parametrize("name", LINES)
def test_an_odd_line_is_named_and_does_not_make_the_format_unknown(name, at, odd, tmp_path):
    path = written(name, tmp_path, 4, odd, at)
    if name == "km":
        n_lines = path.read_text().count("\n")
        path.with_suffix(".tsv").write_text("/c\n" + "".join(f"{i}.wav\t960\n" for i in range(n_lines)))
    assert detect(path).name == name
    with pytest.raises(InputError, match=rf"{path.name}:{at}: "):
        units(path.name)(tmp_path)


def test_a_table_is_told_by_its_column_names_whatever_follows(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text(UNIT_FILES["s2ut"]["x.tsv"] + "nonsense\n")
    assert detect(path).name == "s2ut"
    with pytest.raises(InputError, match=r"x\.tsv:4: 1 columns, expected 5"):
        units("x.tsv")(tmp_path)


def test_half_of_one_format_and_half_of_another_is_neither(tmp_path):
    (tmp_path / "x.txt").write_text("a|1 2\nb|3\nc\t1\nd\t2\n")
    with pytest.raises(InputError, match=r"x\.txt: could be gslm, textless \(it begins 'a\|1 2'\); name its format"):
        detect(tmp_path / "x.txt")
    (tmp_path / "x.txt").write_text("one\ntwo three\nb|3\nfour\n")
    with pytest.raises(InputError, match=r"x\.txt: is in no format that is known \(it begins 'one'\)"):
        detect(tmp_path / "x.txt")
