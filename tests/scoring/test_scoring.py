"""Edit counts, reports and the bootstrap; and sld score as a user runs it."""

import json
from pathlib import Path
from typing import List, Optional

import editdistance
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import sld

from sld_user_dir.scoring.alignment import align
from sld_user_dir.scoring.edits import ErrorCounts, TextNormalization, error_counts, format_alignment
from sld_user_dir.scoring.hypotheses import DecodedUtterance, Hypothesis
from sld_user_dir.scoring.rates import compare, format_comparison, format_report, has_loop, score
from sld_user_dir.scoring.significance import bootstrap_interval, paired_bootstrap

WORDS = st.lists(st.sampled_from("abc"), max_size=8)


def record(row: int, reference: Optional[str], text: str, tokens: int = 3, **fields: str) -> DecodedUtterance:
    hypothesis = Hypothesis(text, -1.0, text, [-0.1] * (tokens + 1))
    return DecodedUtterance(row, f"u{row}", reference, hypotheses=[hypothesis], fields=fields)


# ---- edits


@given(WORDS, WORDS)
def test_counts_add_up_to_the_distance(reference: List[str], hypothesis: List[str]) -> None:
    counts = error_counts(reference, hypothesis)
    assert counts.errors == editdistance.eval(reference, hypothesis)
    assert counts.reference_length == len(reference)
    assert len(hypothesis) - len(reference) == counts.insertions - counts.deletions


@given(WORDS, WORDS)
def test_alignment_spells_both_sides(reference: List[str], hypothesis: List[str]) -> None:
    pairs = align(reference, hypothesis)
    assert [r for r, _ in pairs if r is not None] == reference
    assert [h for _, h in pairs if h is not None] == hypothesis


def test_counts_by_hand() -> None:
    assert error_counts(["a", "b", "c", "d"], ["a", "x", "c", "d", "e"]) == ErrorCounts(4, 1, 0, 1)
    assert error_counts(["a", "b", "c"], []) == ErrorCounts(3, 0, 3, 0)
    assert error_counts([], ["a"]).rate is None


def test_format_alignment() -> None:
    lines = format_alignment(align(["one", "two", "four"], ["one", "too", "three", "four"])).split("\n")
    assert lines[0].split()[0] == "REF:" and lines[2].split() in (["S", "I"], ["I", "S"])


@pytest.mark.parametrize(
    "normalization, text, expected",
    [
        (TextNormalization(), "  Don't \t stop ", "Don't stop"),
        (TextNormalization(lowercase=True), "Straße ÉCOLE", "straße école"),
        (TextNormalization(strip_punctuation=True), "'Well,' don’t—stop!", "Well don't stop"),
        (TextNormalization(), "e\u0301", "\u00e9"),
        (TextNormalization(unicode_form=None), "e\u0301", "e\u0301"),
    ],
)
def test_normalization(normalization: TextNormalization, text: str, expected: str) -> None:
    assert normalization(text) == expected


# ---- report


def test_wer_and_cer_over_the_corpus() -> None:
    report = score([record(0, "a b c", "a b c"), record(1, "dd", "dx dd")])
    assert report["wer"]["rate"] == pytest.approx(100 * 1 / 4)  # not the mean of 0 and 100
    assert report["cer"]["rate"] == pytest.approx(100 * 3 / 7)
    assert report["sentence_error_rate"] == 50.0
    assert [u["id"] for u in report["worst"]] == ["u1"]


def test_normalization_reaches_both_sides() -> None:
    records = [record(0, "Hello, world", "hello world!"), record(1, "yes", "YES.")]
    assert score(records)["wer"]["errors"] == 3
    assert score(records, TextNormalization(lowercase=True, strip_punctuation=True))["wer"]["errors"] == 0


def test_breakdowns_partition_the_set() -> None:
    lengths = [1, 5, 6, 10, 11, 40, 41]
    records = [record(i, "w " * n, "w", speaker=f"s{i % 3}", test_set="t") for i, n in enumerate(lengths)]
    report = score(records, by=["speaker", "test_set"])
    assert list(report["by"]["length"]) == ["0-5 words", "6-10 words", "11-20 words", "21-40 words", "41+ words"]
    for groups in report["by"].values():
        assert sum(group["utterances"] for group in groups.values()) == 7
        assert sum(group["errors"] for group in groups.values()) == report["wer"]["errors"]


def test_missing_field_and_missing_reference_are_errors() -> None:
    with pytest.raises(ValueError, match=r"has no field 'speaker'.*manifest"):
        score([record(0, "a", "a")], by=["speaker"])
    with pytest.raises(ValueError, match="'u0' has no reference"):
        score([record(0, None, "a")])
    with pytest.raises(ValueError, match="no reference token"):
        score([record(0, "", "a")])


@pytest.mark.parametrize(
    "hypothesis, reference, expected",
    [
        ("a b a b a b", "a b", True),
        ("the the the", "the", True),
        ("the the", "the", False),
        ("three three three", "three three three", False),  # digit strings repeat rightly
        ("three three three three", "three three three", True),
        ("a b c a b c", "", False),
        ("", "a", False),
    ],
)
def test_loops(hypothesis: str, reference: str, expected: bool) -> None:
    assert has_loop(hypothesis.split(), reference.split()) is expected


def test_truncated_counts_tokens_without_the_end() -> None:
    records = [record(0, "a", "a", tokens=5), record(1, "a", "a", tokens=4)]
    assert score(records, max_len=5)["truncated"] == 1
    assert score(records)["truncated"] is None


def test_report_is_json_and_table() -> None:
    report = score([record(0, "a b", "a c", speaker="s")], by=["speaker"], max_len=9)
    assert json.loads(json.dumps(report))["wer"]["rate"] == 50.0
    table = format_report(report)
    assert "50.00" in table and "by speaker" in table and "HYP: a c" in table


def test_the_columns_of_a_hypothesis_that_loops_stay_apart() -> None:
    table = format_report(score([record(0, "a b", "c " * 1_000_000, speaker="s")], by=["speaker"]))
    header, _, words, characters, *rest = table.splitlines()
    assert words.split() == ["WER", "1", "2", "2", "0", "999998", "50000000.00"]
    assert characters.split() == ["CER", "1", "3", "66666600.00"]
    assert len(header) == len(words) == len(characters) == len(rest[3])


# ---- significance


def test_interval_holds_the_true_rate_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    lengths = np.full(100, 10)
    held = 0
    for seed in range(100):
        low, high = bootstrap_interval(rng.binomial(10, 0.2, size=100), lengths, draws=400, seed=seed)
        held += low <= 20.0 <= high
    assert 85 <= held <= 100


def test_a_clear_improvement_and_none() -> None:
    lengths = [10] * 50
    better = paired_bootstrap([3] * 50, [2] * 50, lengths, draws=200)
    assert better.difference == pytest.approx(-10.0) and better.interval == pytest.approx((-10.0, -10.0))
    assert better.probability_of_improvement == 1.0
    assert paired_bootstrap([3] * 50, [3] * 50, lengths, draws=200).probability_of_improvement == 0.5


def test_blocks_widen_the_interval() -> None:
    errors_b = [0] * 40 + [4] * 40  # all of speaker x is better, all of speaker y worse
    arguments = ([2] * 80, errors_b, [10] * 80)
    by_utterance = paired_bootstrap(*arguments, draws=500)
    by_speaker = paired_bootstrap(*arguments, blocks=["x"] * 40 + ["y"] * 40, draws=500)
    assert by_speaker.difference == by_utterance.difference == pytest.approx(0.0)
    assert by_speaker.interval[1] > 2 * by_utterance.interval[1]


def test_compare_pairs_by_id() -> None:
    a = [record(0, "a b", "a x"), record(1, "c d", "c d")]
    b = [record(1, "c d", "c d"), record(0, "a b", "a b")]
    comparison = compare(a, b)
    assert (comparison["rate_a"], comparison["rate_b"]) == (25.0, 0.0)
    assert "25.00 -> 0.00" in format_comparison(comparison)
    with pytest.raises(ValueError, match="differ in utterance 'u0'"):
        compare(a, [record(0, "a c", "a"), b[0]])
    with pytest.raises(ValueError, match="differ in utterance 'u1'"):
        compare(a, b[1:])


# ---- sld score


def test_sld_score_on_text_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "ref").write_text("A b\nc\n", encoding="utf-8")
    (tmp_path / "hyp").write_text("a b\nd\n", encoding="utf-8")
    files = ["--references", str(tmp_path / "ref"), "--hypotheses", str(tmp_path / "hyp")]
    assert sld("score", *files, "--lowercase", "--json", str(tmp_path / "report.json")) == 0
    assert "33.33" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["wer"]["errors"] == 1


def test_sld_score_compares_two_systems(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name, text in (("a", "one"), ("b", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "generate-t.txt").write_text(f"T-0\ttwo\nH-0\t-1\t{text}\n", encoding="utf-8")
    outputs = [str(tmp_path / name / "generate-t.txt") for name in "ab"]
    assert sld("score", "--generate", outputs[0], "--against", outputs[1], "--by", "test_set") == 0
    assert "WER 100.00 -> 0.00" in capsys.readouterr().out


def test_sld_score_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert sld("score", "--generate", str(tmp_path / "none.txt")) == 1
    assert "none.txt" in capsys.readouterr().err
    assert sld("score") == 1
    assert "--generate" in capsys.readouterr().err
