"""The one reader of lines, the one grammar of headers, the one reader of tables with named columns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.unreadable_files import refuse_to_open

from sld_user_dir.errors import InputError
from sld_user_dir.files import decode_lines, iter_lines, read_lines, read_text
from sld_user_dir.manifests.header import check_format, header_lines, read_header
from sld_user_dir.manifests.named_columns import table_rows
from sld_user_dir.manifests.rejected import Rejected, read_rejected, rejected_path, write_rejected

CHARACTERS = st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n\0\ufeff")
LINES = st.lists(st.text(CHARACTERS, max_size=5), max_size=5)


class OtherError(InputError):
    """A kind of error, to see that readers raise the kind that they are given."""


@given(LINES, st.sampled_from(["\n", "\r\n"]))
def test_an_end_is_a_line_feed_and_a_carriage_return_before_it(lines, end):
    assert list(decode_lines([(line + end).encode() for line in lines], "x")) == lines


def test_a_file_of_lines(tmp_path):
    path = tmp_path / "x"
    for content, lines in (
        ("", []),
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("a\n\nb", ["a", "", "b"]),
        ("a\r\nb\rc\r\r\n", ["a", "b\rc\r"]),
        ("a\u2028b\x0cc\x85d\nz", ["a\u2028b\x0cc\x85d", "z"]),
        ("\ufeffa\n\ufeff\ufeffb\ufeff\n", ["a", "b\ufeff"]),
    ):
        path.write_bytes(content.encode())
        assert read_lines(path) == read_lines(path, keep_blank_end=True) == lines
    for content, kept in (("a\n\n", ["a", ""]), ("a\n \t\u2028\r\n\n", ["a", " \t\u2028", ""]), ("\n", [""])):
        path.write_bytes(content.encode())
        assert read_lines(path) == [line for line in kept if line.strip()]
        assert read_lines(path, keep_blank_end=True) == kept
    path.write_bytes("\ufeffa\n\ufeffb\n".encode())
    assert read_lines(path, keep_marks=True) == ["\ufeffa", "\ufeffb"]


def test_only_what_is_asked_for_is_read(tmp_path):
    (tmp_path / "x").write_bytes(b"first\n\xff\n")
    lines = iter_lines(tmp_path / "x", OtherError)
    assert next(lines) == "first"
    with pytest.raises(OtherError, match=r"x:2: byte 0xff is not UTF-8; save the file as UTF-8 \(from Latin-1: iconv"):
        next(lines)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(OtherError, match=r"gone: No such file or directory; check the path"):
        read_lines(tmp_path / "gone", OtherError)
    with pytest.raises(OtherError, match=r"Is a directory; check the path"):
        read_lines(tmp_path, OtherError)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "x").write_text("one\n")
    refuse_to_open(monkeypatch, tmp_path / "x")
    for read in (read_lines, read_text):
        with pytest.raises(OtherError, match=r"x: Permission denied; check its permissions and its folder's$"):
            read(tmp_path / "x", OtherError)


@given(st.dictionaries(st.from_regex(r"[a-z]+( [a-z]+)?", fullmatch=True), st.text() | st.integers() | st.none()))
def test_a_header_comes_back(entries):
    lines = header_lines(entries)
    assert all("\n" not in line for line in lines)
    assert read_header("x", [*lines, "id\ttext", "# no header"], OtherError) == (entries, len(lines))


@pytest.mark.parametrize("line", ["# license", "# license: CC0", "#: ", "# n: [1,"])
def test_lines_that_are_no_header(line):
    with pytest.raises(OtherError, match=r"x:2: header line is not '# key: JSON value' .*; correct it"):
        read_header("x", ['# a: "b"', line], OtherError)


def test_the_format_is_stated_in_the_header():
    check_format("x", {"format": "list/1"}, "list/1", "a list", OtherError, "make one")
    for entries in ({}, {"format": "list/2"}):
        with pytest.raises(OtherError, match=r"x:1: not a list: no '# format: \"list/1\"' at the top; make one"):
            check_format("x", entries, "list/1", "a list", OtherError, "make one")


def rows_of(text: str, **options) -> list:
    return list(table_rows("x", text.split("\n"), ("a", "b"), OtherError, **options))


def test_a_table_with_named_columns():
    assert rows_of("b\tc\ta\n1\t\t2\n3\t4\t5") == [
        (2, {"b": "1", "c": "", "a": "2"}),
        (3, {"b": "3", "c": "4", "a": "5"}),
    ]
    assert rows_of("# n: 1\na\tb\n\n1\t2", n_header=1, skip_blank=True) == [(4, {"a": "1", "b": "2"})]
    assert rows_of("a\tb") == []


@pytest.mark.parametrize(
    "text, message",
    [
        ("a\tb\ta\n1\t2\t3", r"x:1: a column twice among \['a', 'b', 'a'\]; name each column once"),
        ("c\tb\n1\t2", r"x:1: no column a among \['c', 'b'\]; the line above the rows names the columns: a, b, …"),
        ("a\tb\n1\t2\n1", r"x:3: 1 columns, expected 2; separate columns by one tab"),
        ("a\tb\n1\t2\t3", r"x:2: 3 columns, expected 2; separate columns by one tab"),
        ("a\tb\n", r"x:2: 1 columns, expected 2"),
    ],
)
def test_tables_that_cannot_be_right(text, message):
    with pytest.raises(OtherError, match=message):
        rows_of(text)


def test_a_table_without_column_names():
    with pytest.raises(OtherError, match=r"x:1: no column names; name them on a line: a, b, …"):
        list(table_rows("x", [], ("a", "b"), OtherError))


def test_rejected_recordings_come_back(tmp_path):
    path = rejected_path(tmp_path / "train.tsv")
    assert path == tmp_path / "train.rejected.tsv"
    assert rejected_path(tmp_path / "k.npz") == tmp_path / "k.npz.rejected.tsv"
    rejected = [Rejected("a", tmp_path / "a.wav", "too\tshort:\n0.1 s"), Rejected("b", tmp_path / "b.wav", "NaN")]
    write_rejected(path, rejected)
    assert [(one.id, one.path, one.reason) for one in read_rejected(path)] == [
        ("a", tmp_path / "a.wav", "too short: 0.1 s"),
        ("b", tmp_path / "b.wav", "NaN"),
    ]
    write_rejected(path, [])
    assert path.read_text() == "id\tpath\treason\n" and read_rejected(path) == []
    path.write_text("id\tpath\treason\na\tb\n")
    with pytest.raises(InputError, match=r"train\.rejected\.tsv:2: 2 columns, expected 3"):
        read_rejected(path)
