"""Errors of word times: of right words only, both sides of each, and never of another test set."""

import json
from itertools import pairwise

import pytest
from support.commands import sld
from support.miniature import ROOT

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.ctm import TimedWord, read_ctm, write_ctm
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.scoring.time_errors import boundary_errors, time_report

TRUE = [TimedWord("a", 0.0, 0.4), TimedWord("b", 0.4, 1.0), TimedWord("c", 1.0, 1.2)]


def test_errors_are_those_of_right_words():
    found = [TimedWord("a", 0.1, 0.35), TimedWord("x", 0.35, 0.9), TimedWord("c", 0.95, 1.2)]
    errors = boundary_errors(found, TRUE)
    assert [round(one.error_ms) for one in errors] == [100, -50, -50, 0]
    assert [one.is_inner for one in errors] == [False, True, True, False]
    assert [round(one.even_spread_ms) for one in errors] == [0, 0, -200, 0]


def test_insertions_and_deletions_shift_no_pairs():
    found = [TimedWord("a", 0.0, 0.4), TimedWord("y", 0.4, 0.5), *TRUE[1:]]
    assert {one.error_ms for one in boundary_errors(found, TRUE)} == {0.0}
    assert {one.error_ms for one in boundary_errors(TRUE[1:], TRUE)} == {0.0}
    assert boundary_errors([], TRUE) == []


def test_the_command_reports(tmp_path, capsys):
    write_ctm(tmp_path / "true.ctm", {"u": TRUE, "silent": TRUE[:1]}.items())
    write_ctm(tmp_path / "found.ctm", {"u": [*TRUE[:2], TimedWord("c", 1.1, 1.2)]}.items())
    arguments = [tmp_path / "found.ctm", "--references", tmp_path / "true.ctm", "--json", tmp_path / "r.json"]
    assert sld("word-times", *arguments) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["recordings_without_words"] == 1 and report["words_compared"] == 3
    assert report["all"]["mean_ms"] == pytest.approx(100 / 6) and report["inner"]["boundaries"] == 4
    assert "between words" in capsys.readouterr().out


def test_times_of_another_test_set_are_refused():
    with pytest.raises(InputError, match=r"f\.ctm: the true times have no recording 'other'.*of the same test set"):
        time_report({"u": TRUE, "other": TRUE}, {"u": TRUE}, "f.ctm")
    with pytest.raises(InputError, match=r"no recording 'other'; give the true times"):
        time_report({"u": TRUE, "other": TRUE}, {"u": TRUE}, "f.ctm")
    with pytest.raises(InputError, match=r"no recording 'a', and lack 1 others of the 3; give the true times"):
        time_report({"u": TRUE, "a": TRUE, "b": TRUE}, {"u": TRUE}, "f.ctm")
    with pytest.raises(InputError, match=r"f\.ctm: no word is right"):
        time_report({"u": [TimedWord("x", 0, 1)]}, {"u": TRUE}, "f.ctm")


@pytest.mark.parametrize("name", ["valid", "test", "test_unseen"])
def test_the_true_times_of_digits_are_those_of_their_strings(name):
    times = read_ctm(ROOT / f"manifests/digits/{name}.ctm")
    manifest = read_manifest(ROOT / f"manifests/digits/{name}.tsv")
    assert len(times) == len(manifest)
    for utterance in manifest:
        words = times[utterance.id]
        assert " ".join(one.word for one in words) == utterance.text
        assert words[0].start_seconds == 0
        assert words[-1].end_seconds == pytest.approx(int(utterance.fields["n_samples"]) / 8000, abs=0.002)
        for one, following in pairwise(words):
            assert one.end_seconds == pytest.approx(following.start_seconds, abs=0.002)
