"""Files of word times: written as they are read, and what is none is refused with its line."""

import pytest

from sld_user_dir.manifests.ctm import CtmError, TimedWord, read_ctm, write_ctm

WORDS = [TimedWord("zwölf", 0.0, 0.24, 0.987), TimedWord("drei", 0.24, 1.0, 0.5)]


def test_words_come_back(tmp_path):
    path = tmp_path / "a.ctm"
    written = {"a": WORDS, "b": [TimedWord("x", 1.5, 1.75)]}
    assert write_ctm(path, written.items()) == 3
    assert path.read_text(encoding="utf-8").startswith("a A 0.000 0.240 zwölf 0.9870\n")
    assert read_ctm(path) == written


def test_remarks_and_blank_lines_are_passed_over(tmp_path):
    path = tmp_path / "a.ctm"
    path.write_text(";; made by hand\n\na A 0.5 0.25 one\n")
    assert read_ctm(path) == {"a": [TimedWord("one", 0.5, 0.75)]}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a A 0.5 0.25", "4 columns; expected: recording channel start duration word"),
        ("a A half 0.25 one", "could not convert string to float"),
        ("a A -1 0.25 one", "start -1 and duration 0.25; give seconds from 0 on"),
        ("a A 0 nan one", "start 0 and duration nan"),
        ("a A 0.5 0.25 one 1.5", "confidence 1.5; give a probability"),
        ("a A 0.1 0.25 one", "the word begins before the one above it, of a; sort the lines by time"),
    ],
)
def test_other_lines_are_refused(tmp_path, line, problem):
    path = tmp_path / "a.ctm"
    path.write_text(f"a A 0.2 0.25 one\n{line}\n")
    with pytest.raises(CtmError) as error:
        read_ctm(path)
    assert str(error.value).startswith(f"{path}:2: ") and problem in str(error.value)


@pytest.mark.parametrize(
    ("name", "word"),
    [("a b", "one"), ("a", ""), ("a", "two words"), (";;a", "one"), ("a\u2028b", "one"), ("a\x85", "one")],
)
def test_what_columns_cannot_hold_is_refused(tmp_path, name, word):
    with pytest.raises(CtmError, match="whose columns white space divides; rename it"):
        write_ctm(tmp_path / "a.ctm", [(name, [TimedWord(word, 0, 1)])])
    assert not list(tmp_path.iterdir())


def test_a_word_may_begin_as_a_remark_does(tmp_path):
    path = tmp_path / "a.ctm"
    assert write_ctm(path, [("a", [TimedWord(";;", 0, 1)])]) == 1
    assert read_ctm(path) == {"a": [TimedWord(";;", 0, 1)]}
