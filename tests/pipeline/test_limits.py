"""sld limit: what the model cannot hold is listed, and left out or cut."""

import numpy as np
import pytest
from support.commands import sld
from support.miniature import NUM_UNITS, WORDS, make_provenance

from sld_user_dir.manifests.unit_manifest import Utterance, read_manifest, write_manifest
from sld_user_dir.pipeline.length_limits import LengthLimits, TooLong, limit_manifest
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.tokenizers import WordTokenizer

LENGTHS = {"short": (3, 2), "full": (6, 3), "long": (7, 3), "wordy": (1, 4), "both": (20, 9)}  # units, words
CUT = {**LENGTHS, "long": (5, 3), "wordy": (1, 3), "both": (5, 3)}  # room for separator and </s>


@pytest.fixture
def data(tmp_path):
    rows = [
        Utterance(
            name, np.arange(n) % NUM_UNITS, " ".join(WORDS[i % 5] for i in range(words)), np.full(n, 2), {"x": name}
        )
        for name, (n, words) in LENGTHS.items()
    ]
    write_manifest(tmp_path / "train_all.tsv", rows, make_provenance(), {"license": "none"})
    JointVocabulary.build([" ".join(WORDS)], NUM_UNITS, WordTokenizer()).save(tmp_path)
    return tmp_path


def lengths(path):
    return {one.id: (len(one.units), len(one.text.split())) for one in read_manifest(path)}


@pytest.mark.parametrize("too_long", ["skip", "truncate"])
def test_limits(data, capsys, too_long):
    arguments = ["--data", data, "--max-tokens", 10, "--max-text-tokens", 3, "--too-long", too_long]
    assert sld("limit", *arguments) == 0
    kept = {"short": LENGTHS["short"], "full": LENGTHS["full"]} if too_long == "skip" else CUT
    assert lengths(data / "train.tsv") == kept
    listed = (data / "train.too-long.tsv").read_text().splitlines()
    assert listed == ["id\tunits\ttext_tokens", "long\t7\t3", "wordy\t1\t4", "both\t20\t9"]
    said = capsys.readouterr().out
    assert f"{len(kept)} utterances; 3 too long and {'cut' if too_long == 'truncate' else 'left out'}" in said
    source, target = read_manifest(data / "train_all.tsv"), read_manifest(data / "train.tsv")
    assert (target.provenance, target.header) == (source.provenance, source.header)
    for one in target:
        assert one.fields == {"x": one.id} and len(one.durations) == len(one.units)
        assert one.units.tolist() == [i % NUM_UNITS for i in range(len(one.units))]
        assert one.text == " ".join(WORDS[i % 5] for i in range(len(one.text.split())))


def test_no_limit_on_text(data):
    vocab = JointVocabulary.load(data)
    written, too_long = limit_manifest(data / "train_all.tsv", data / "x.tsv", vocab, LengthLimits(11, None))
    assert written == 4 and too_long == [
        TooLong("both", 20, 9, {"utterances": 1, "units": 20, "words": 9, "frames": 40})
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--too-long", "ignore"], "--too-long ignore: nothing that can be done; choose skip or truncate"),
        (["--max-tokens", "2"], "--max-tokens 2 --max-text-tokens 150: these leave no room"),
        (
            ["--max-tokens", "3"],
            "none of 5 utterances is within the limits (the shortest has 6 tokens, the least text 2)",
        ),
        (["--out", "train_all"], "would overwrite"),
        (["--split", "nothing"], "nothing.tsv"),
    ],
)
def test_errors_in_a_line(data, capsys, options, message):
    assert sld("limit", "--data", data, *options) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
