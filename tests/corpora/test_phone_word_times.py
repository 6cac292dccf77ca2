"""Word edges from phone labels and a lexicon."""

import json
import subprocess
import sys

import pytest
from support.miniature import ROOT

from sld_user_dir.corpora.phone_labels import read_lexicon, read_phone_labels, runs_of
from sld_user_dir.corpora.phone_word_times import words_on_phones
from sld_user_dir.errors import InputError
from sld_user_dir.manifests.ctm import TimedWord, read_ctm
from sld_user_dir.scoring.time_errors import time_report

NUMBERS = ("zero", "one", "two", "three", "four", "five")
LEXICON = {"this": [("DH", "IH", "S")], "says": [("S", "EH", "Z")], "a": [("AH",), ("EY",)], "tea": [("T", "IY")]}


def said(*parts):
    """Runs of phones, each so many frames long: `said("DH", 3, "IH", 5)`."""
    return runs_of([phone for phone, frames in zip(parts[::2], parts[1::2]) for _ in range(frames)])


def test_words_said_as_the_lexicon_says():
    runs = said("SIL", 10, "DH", 3, "IH", 4, "S", 5, "SIL", 6, "T", 2, "IY", 7, "EY", 8, "SIL", 4)
    assert words_on_phones(["This", "tea", "a"], runs, LEXICON) == [
        TimedWord("This", 0.10, 0.22, 1.0),
        TimedWord("tea", 0.28, 0.37, 1.0),
        TimedWord("a", 0.37, 0.45, 1.0),
    ]


def test_a_word_said_otherwise_makes_its_neighbours_unsure_up_to_a_silence():
    runs = said("T", 2, "IY", 2, "T", 2, "AA", 2, "T", 2, "IY", 2, "SIL", 2, "AH", 2)
    found = words_on_phones(["tea", "unknown", "tea", "a"], runs, LEXICON)
    assert [one.confidence for one in found] == [0, 0, 0, 1]
    assert [one.start_seconds for one in found] == [0.0, 0.04, 0.08, 0.14]


def test_an_edge_within_one_run_is_not_known():
    runs = said("DH", 3, "IH", 4, "S", 6, "EH", 4, "Z", 5, "SIL", 3, "AH", 4)
    this, says, a = words_on_phones(["this", "says", "a"], runs, LEXICON)
    assert this.end_seconds == says.start_seconds == 0.10
    assert (this.confidence, says.confidence, a.confidence) == (0, 0, 1)


def test_words_that_do_not_fit_are_none_of_them_sure():
    found = words_on_phones(["a"] * 5, said("T", 2, "IY", 3), LEXICON)
    assert [one.confidence for one in found] == [0] * 5 and found[-1].end_seconds == pytest.approx(0.05)


def test_unsure_words_are_not_compared():
    true = {"r": [TimedWord("a", 0.0, 1.0, 0.0), TimedWord("b", 1.0, 2.0, 1.0)]}
    report = time_report({"r": [TimedWord("a", 0.5, 1.5), TimedWord("b", 1.1, 2.0)]}, true, "x")
    assert (report["words"], report["words_with_sure_edges"], report["words_compared"]) == (2, 1, 1)
    assert report["all"]["mean_ms"] == pytest.approx(50)


def test_the_script(mini, tmp_path):
    (tmp_path / "words.dict").write_text("".join(f"{w} {w.upper()}1\n" for w in NUMBERS))
    rows = [line.split("\t") for line in (mini / "valid.tsv").read_text().splitlines() if line[0] != "#"]
    columns = {name: [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}
    labels = [
        {"name": name, "phones": [word.upper() for word in text.split() for _ in range(3)]}
        for name, text in zip(columns["id"], columns["text"])
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(one) + "\n" for one in labels))
    command = [sys.executable, ROOT / "scripts" / "librispeech_word_times.py", "--labels", tmp_path / "labels.jsonl"]
    command += ["--lexicon", tmp_path / "words.dict", "--manifest", mini / "valid.tsv", "--out", tmp_path / "out.ctm"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [" ".join(one.word for one in words) for words in read_ctm(tmp_path / "out.ctm").values()] == columns["text"]


@pytest.mark.parametrize("read", [read_phone_labels, read_lexicon])
@pytest.mark.parametrize("line", ['{"name": "a"}\n', "word\n"])
def test_broken_files_are_named(read, line, tmp_path):
    path = tmp_path / "file"
    path.write_text(line)
    if read is read_lexicon and "{" in line:
        assert read(path)  # any two words are a pronunciation
    else:
        with pytest.raises(InputError, match=r"file:1: "):
            read(path)
