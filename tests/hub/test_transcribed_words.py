"""`sld transcribe --word-times`: words of segments on the clock of the recording, in every file that can hold them."""

import json
import re

import numpy as np
import pytest
import soundfile
from support.commands import sld
from support.miniature import train

from sld_user_dir import hub

OPTIONS = {"beam": 2, "max_len_b": 5}


@pytest.fixture(scope="module")
def with_ctc(spoken):
    """On the recordings of `spoken`, with CTC."""
    folder, _ = spoken
    train(folder / "data", folder / "ctc", "--ctc-weight", "1", updates=2)
    return folder / "ctc" / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory):
    """Bursts and pauses, more than the model holds."""
    rng = np.random.default_rng(0)
    parts = [(0.2 if i % 2 == 0 else 1e-4) * rng.standard_normal(int(8000 * s)) for i, s in enumerate([1, 0.8, 2.9])]
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, np.concatenate(parts), 8000)
    return path


def test_words_lie_in_their_segments(spoken, with_ctc, long_recording):
    model = hub.load(with_ctc, data=spoken[0] / "data", device="cpu")
    found = model.transcribe_long(long_recording, word_times=True, **OPTIONS)
    assert len(found.segments) > 1 and found.text
    for segment in found.segments:
        assert " ".join(one.word for one in segment.words) == segment.text
        for one in segment.words:
            assert segment.start_seconds <= one.start_seconds < one.end_seconds <= segment.end_seconds
    plain = model.transcribe_long(long_recording, **OPTIONS)
    assert plain.text == found.text and plain.segments[0].words is None
    assert "words" not in plain.to_dict()["segments"][0]


def test_every_file_holds_them(spoken, with_ctc, long_recording, tmp_path, capsys):
    outputs = ["--json", tmp_path / "t.json", "--srt", "--vtt", "--subtitle-folder", tmp_path, "--word-times"]
    fixed = ["--checkpoint", with_ctc, "--data", spoken[0] / "data", "--max-len-b", 5, "--beam", 2, "--device", "cpu"]
    assert sld("transcribe", long_recording, *fixed, *outputs) == 0
    (answer,) = json.loads((tmp_path / "t.json").read_text())
    words = [one for segment in answer["segments"] for one in segment["words"]]
    assert " ".join(one["word"] for one in words) == answer["text"] == capsys.readouterr().out.split("\t")[1].strip()
    cues = re.findall(r"\d+\n\S+ --> \S+\n(\S+)\n", (tmp_path / "long.srt").read_text())
    assert cues == [one["word"] for one in words]
    stamps = re.findall(r"<\d\d:\d\d:\d\d\.\d{3}>", (tmp_path / "long.vtt").read_text())
    assert len(stamps) <= len(words) - len(answer["segments"])


def test_a_model_without_ctc_times_words_too(spoken, long_recording):
    folder, _ = spoken
    plain = hub.load(folder / "save" / "checkpoint_last.pt", data=folder / "data", device="cpu")
    found = plain.transcribe_long(long_recording, word_times=True, **OPTIONS)
    assert found.text
    for segment in found.segments:
        assert " ".join(one.word for one in segment.words) == segment.text
        assert all(segment.start_seconds <= one.start_seconds < one.end_seconds for one in segment.words)


def test_files_that_hold_no_words_are_refused(with_ctc, long_recording, capsys):
    assert sld("transcribe", long_recording, "--checkpoint", with_ctc, "--word-times") == 1
    assert "--word-times: no file is wanted that holds them; add --json FILE, --srt or --vtt" in capsys.readouterr().err
