"""One rule for id and text of a line, in every reader of such lines; and the scores that follow from it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import sld

from sld_user_dir.errors import InputError
from sld_user_dir.interop.join import text_table
from sld_user_dir.interop.unit_format import unit_formats
from sld_user_dir.manifests.audio_manifest import Recording
from sld_user_dir.manifests.keyed_lines import keyed_lines, split_key
from sld_user_dir.pipeline.transcript_files import add_transcript
from sld_user_dir.scoring.hypotheses import HypothesisError, read_pair

CASES = [
    ("utt one two", "utt", "one two"),
    ("utt\tone two", "utt", "one two"),
    ("my utt\tone two", "my utt", "one two"),
    ("my utt\tone\ttwo", "my utt", "one\ttwo"),
    ("utt  one", "utt", "one"),
    ("utt\u2028one", "utt", "one"),
    ("utt\xa0one", "utt", "one"),
    ("utt\x0bone \x85", "utt", "one"),
    ("utt", "utt", ""),
    ("utt ", "utt", ""),
    ("my utt\t", "my utt", ""),
    ("a|b/c.wav\tone", "a|b/c.wav", "one"),
]


@pytest.mark.parametrize("line, key, text", CASES)
def test_every_reader_parts_id_and_text_alike(line, key, text, tmp_path):
    assert split_key(line) == (key, text)
    path = tmp_path / "x"
    path.write_text(line + "\n", encoding="utf-8")
    assert list(keyed_lines(path)) == [(f"{path}:1", key, text)]
    (record,) = read_pair(path, path, keyed=True)
    assert (record.id, record.reference, record.best.text) == (key, text, text)
    if text:
        (row,) = text_table(path).rows.values()
        assert (row.id, row.text, row.where) == (key, text, f"{path}:1")
    else:
        with pytest.raises(InputError, match=r"x:1: no id and transcript"):
            text_table(path)
    (tmp_path / "x.trans.txt").write_text(line + "\n", encoding="utf-8")
    if "/" not in key:
        assert add_transcript(Recording(key, tmp_path / f"{key}.wav")).text == text


def test_a_carriage_return_within_a_transcript_is_a_space(tmp_path):
    (tmp_path / "x.trans.txt").write_bytes(b"utt one\rtwo\r\n")
    assert [text for _, _, text in keyed_lines(tmp_path / "x.trans.txt")] == ["one two"]
    assert add_transcript(Recording("utt", tmp_path / "utt.wav")).text == "one two"


@pytest.mark.parametrize("line", ["my utt\t1 2", "utt 1 2", "utt\u20281 2", "utt  1 2 "])
def test_units_by_id_are_parted_alike(line, tmp_path):
    (tmp_path / "x").write_text(line + "\n", encoding="utf-8")
    (record,) = unit_formats()["espnet"].read(tmp_path / "x").records
    assert (record.id, record.units.tolist()) == (split_key(line)[0], [1, 2])


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\t"), min_size=1), st.text("ab "))
def test_an_id_before_a_tab_comes_back_whatever_it_holds(name, text):
    assert split_key(f"{name}\t{text}") == (name, text.strip())


@pytest.mark.parametrize("line", [" one", "\tone", "\u2028one"])
def test_a_line_without_an_id_is_named(line, tmp_path):
    (tmp_path / "x").write_text("a b\n" + line + "\n", encoding="utf-8")
    with pytest.raises(HypothesisError, match=r"x:2: no id before .*; write it as: id<TAB>text"):
        read_pair(tmp_path / "x", tmp_path / "x", keyed=True)


def test_blank_lines_are_no_utterances(tmp_path):
    (tmp_path / "x").write_text("a one\n\n  \nb two\n\n", encoding="utf-8")
    assert [r.id for r in read_pair(tmp_path / "x", tmp_path / "x", keyed=True)] == ["a", "b"]
    assert list(text_table(tmp_path / "x").rows) == ["a", "b"]


def test_a_transcript_that_two_lists_state_otherwise_is_named(tmp_path):
    (tmp_path / "1.trans.txt").write_text("a one\nb two\na one\n")
    (tmp_path / "2.trans.txt").write_text("b too\n")
    with pytest.raises(InputError, match=r"2\.trans\.txt:1: a second transcript of 'b'; remove one"):
        add_transcript(Recording("a", tmp_path / "a.wav"))


def rate(folder, references: str, hypotheses: str, *options: str) -> float:
    (folder / "ref").write_bytes(references.encode())
    (folder / "hyp").write_bytes(hypotheses.encode())
    files = ["--references", folder / "ref", "--hypotheses", folder / "hyp", "--json", folder / "r.json"]
    assert sld("score", *files, *options) == 0
    return round(json.loads((folder / "r.json").read_text())["wer"]["rate"], 2)


@pytest.mark.parametrize(
    "references, hypotheses, options, expected",
    [
        ("my utt\tone two three\n", "my utt\tone two four\n", ["--keyed"], 33.33),  # was 25.00
        ("\ufeffone two three\n", "one two three\n", [], 0.0),  # was 33.33
        ("one two three\n", "\ufeffone two three\n", [], 0.0),
        ("\ufeffu1 one two three\n", "u1 one two three\n", ["--keyed"], 0.0),
        ("one\u2028two\x85three\x0cfour\nfive\n", "one two three four\nfive\n", [], 0.0),
        ("one two\r\nthree\r\n", "one two\nthree\n", [], 0.0),
        ("one two\nthree\n", "one two\nthree\n\n\n", [], 0.0),
        ("one two\n\n\n", "one two\n\n", [], 0.0),
        ("one two\n\nthree\n", "one two\nfour\nthree\n", [], 33.33),  # an empty reference is a text
    ],
)
def test_scores_of_the_same_text_are_the_same(references, hypotheses, options, expected, tmp_path):
    assert rate(tmp_path, references, hypotheses, *options) == expected


@pytest.mark.parametrize("hypotheses", ["one\n", "one\ntwo\nthree\n", "one\n\ntwo\n"])
def test_texts_that_one_file_lacks_are_named(hypotheses, tmp_path):
    (tmp_path / "ref").write_text("one\ntwo\n")
    (tmp_path / "hyp").write_text(hypotheses)
    with pytest.raises(
        HypothesisError, match=r"hyp:\d: \d hypotheses for 2 references in .*ref, first without a partner"
    ):
        read_pair(tmp_path / "ref", tmp_path / "hyp")
