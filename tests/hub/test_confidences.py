"""Confidences of transcripts: by the map beside the checkpoint, of a beam as wide as its own, and by no stale map."""

import json
import logging

import pytest
from support.commands import sld

from sld_user_dir import hub
from sld_user_dir.confidence.checkpoint_fingerprint import checkpoint_fingerprint
from sld_user_dir.confidence.confidence_map import ConfidenceMap, map_beside
from sld_user_dir.confidence.logistic_map import LogisticMap
from sld_user_dir.vocabulary.joint import JointVocabulary


@pytest.fixture
def fitted(spoken, tmp_path):
    """A copy of the checkpoint of `spoken` with a map of two hypotheses beside it."""
    folder, _ = spoken
    checkpoint = tmp_path / "best.pt"
    checkpoint.write_bytes((folder / "save" / "checkpoint_last.pt").read_bytes())
    maps = [LogisticMap(0.5, [1.0] * count, [0.0] * count, [1.0] * count) for count in (2, 3)]
    vocab = JointVocabulary.load(folder / "data")
    ConfidenceMap(2, 1.0, *maps, checkpoint_fingerprint(checkpoint), vocab.fingerprint).save(map_beside(checkpoint))
    return checkpoint, folder / "data"


def test_transcripts_have_confidences(spoken, fitted, tmp_path):
    checkpoint, data = fitted
    _, recordings = spoken
    model = hub.load(checkpoint, data=data, device="cpu")
    nbest = model.hypotheses(model.units_of([recordings[0].path]), beam=2, max_len_b=5)[0]
    sure = model.confidence(nbest)
    assert 0 < sure.whole < 1 and len(sure.words) == len(nbest[0].text.split())
    options = ["--checkpoint", checkpoint, "--data", data, "--max-len-b", 5, "--device", "cpu"]
    out = tmp_path / "t.json"
    assert sld("transcribe", recordings[0].path, *options, "--beam", 2, "--json", out) == 0
    (segment,) = json.loads(out.read_text())[0]["segments"]
    assert segment["confidence"] == pytest.approx(sure.whole, abs=1e-3)


def test_a_narrower_beam_has_none_and_that_is_said(spoken, fitted, caplog):
    checkpoint, data = fitted
    _, recordings = spoken
    model = hub.load(checkpoint, data=data, device="cpu")
    found = model.transcribe_long(recordings[0].path, beam=1, max_len_b=5)
    assert found.segments[0].confidence is None
    assert "no confidences: the beam is 1, but the map was fitted on 2" in caplog.text


def test_a_map_of_an_earlier_training_is_left_aside(fitted, caplog):
    checkpoint, data = fitted
    stale = json.loads(map_beside(checkpoint).read_text())
    map_beside(checkpoint).write_text(json.dumps({**stale, "checkpoint": "0" * 16}))
    with caplog.at_level(logging.WARNING):
        assert hub.load(checkpoint, data=data, device="cpu").confidence_map is None
    assert "of another training than" in caplog.text and "fit one by sld confidence" in caplog.text
