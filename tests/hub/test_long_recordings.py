"""Recordings of any length to text: segments, batches, folders, files that are written, and what fails."""

import json
import re
import shutil
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from support.commands import sld

from sld_user_dir import hub
from sld_user_dir.errors import InputError
from sld_user_dir.features.waveform import AudioError
from sld_user_dir.hub import long_recordings
from sld_user_dir.hub.answers import FailedRecording
from sld_user_dir.hub.long_recordings import LongFormTranscriber, most_samples, most_units
from sld_user_dir.longform.cutting import CutOptions

RATE = 8000
OPTIONS = {"beam": 2, "max_len_b": 5}


@pytest.fixture(scope="module")
def model(spoken):
    folder, _ = spoken
    return hub.load(folder / "save" / "checkpoint_last.pt", data=folder / "data", device="cpu")


def bursts(path, *parts, seed=0):
    """A recording of noise bursts and pauses, seconds each in turn, on a faint background."""
    rng = np.random.default_rng(seed)
    pieces = [(0.2 if i % 2 == 0 else 1e-4) * rng.standard_normal(int(s * RATE)) for i, s in enumerate(parts)]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(pieces), RATE)
    return path


def test_what_a_model_holds(model):
    extractor = model.unit_extractor
    units = most_units(model, 5)
    assert units == 64 - 1 - 6  # separator, five tokens of text and the end
    assert most_units(model, 200) == 64 - 1 - 32
    samples = most_samples(extractor, units)
    assert extractor.n_frames(samples) == units < extractor.n_frames(samples + 1)


def test_a_recording_that_fits_is_left_whole(model, spoken):
    _, recordings = spoken
    path = recordings[1].path
    found = model.transcribe_long(path, **OPTIONS)
    (segment,) = found.segments
    assert (segment.start_seconds, segment.end_seconds) == (0, found.seconds) == (0, 0.6)
    assert found.text == segment.text == model.transcribe(path, **OPTIONS)
    best = model.hypotheses(model.units_of([path]), **OPTIONS)[0][0]
    assert segment.score == pytest.approx(best.score, abs=1e-4) and segment.truncated is best.truncated


def test_a_long_recording_is_cut_and_nothing_is_lost(model, tmp_path):
    path = bursts(tmp_path / "long.wav", 0.5, 0.8, 2.9, 0.7, 0.3, 0.1, 0.4, 1.5)
    with pytest.raises(InputError, match=r"long\.wav: \d+ units, but the model holds \d+ .*; transcribe_long, and"):
        model.transcribe(path, **OPTIONS)
    found = model.transcribe_long(path, **OPTIONS)
    assert found.seconds == pytest.approx(7.2)
    times = [(one.start_seconds, one.end_seconds) for one in found.segments]
    longest = most_samples(model.unit_extractor, most_units(model, 5)) / RATE
    assert all(0 < end - start <= longest for start, end in times)
    assert all(before[1] <= behind[0] for before, behind in pairwise(times))
    for start, end in ((0, 0.5), (1.3, 4.2), (4.9, 5.2), (5.3, 5.7)):  # the bursts
        assert sum(max(0, min(end, b) - max(start, a)) for a, b in times) == pytest.approx(end - start, abs=1e-6)
    assert len(times) == 6 and times[-1][1] < 6.0  # the silence at the end is left out
    assert found.text == " ".join(one.text for one in found.segments if one.text)


def test_the_maximum_and_the_pauses_can_be_chosen(model, tmp_path):
    path = bursts(tmp_path / "a.wav", 0.3, 0.3, 0.3)
    assert len(model.transcribe_long(path, **OPTIONS).segments) == 1
    cut = model.transcribe_long(path, max_segment_seconds=0.8, min_pause_seconds=0.2, **OPTIONS)
    assert [round(one.start_seconds, 1) for one in cut.segments] == [0.0, 0.5]
    pieces = model.transcribe_long(path, max_segment_seconds=0.5, pauses="none", **OPTIONS).segments
    assert pieces[0].start_seconds == 0 and pieces[-1].end_seconds == 0.9
    assert all(a.end_seconds == b.start_seconds for a, b in pairwise(pieces))
    with pytest.raises(InputError, match="--pauses magic"):
        model.transcribe_long(path, pauses="magic")


def test_batches_do_not_change_what_is_heard(model, tmp_path):
    paths = [bursts(tmp_path / f"{i}.wav", 0.4, 0.6, 1.0 + 0.3 * i, seed=i) for i in range(4)]
    alone = [model.transcribe_long(path, **OPTIONS) for path in paths]
    for batch_seconds in (0.1, 3.0, 1000.0):
        together = list(LongFormTranscriber(model, CutOptions(), batch_seconds, **OPTIONS)(paths))
        assert [one.text for one in together] == [one.text for one in alone]
        assert [one.path for one in together] == paths
        for a, b in zip(alone, together):
            np.testing.assert_allclose([s.score for s in a.segments], [s.score for s in b.segments], atol=1e-4)


def test_silence_has_no_segments(model, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(5 * RATE), RATE)
    found = model.transcribe_long(tmp_path / "silence.wav", **OPTIONS)
    assert found.text == "" and found.segments == [] and found.seconds == 5


def test_recordings_that_cannot_be_used(model, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "short.wav", np.zeros(100), RATE)
    good = bursts(tmp_path / "good.wav", 0.5)
    paths = [tmp_path / "broken.wav", good, tmp_path / "short.wav", tmp_path / "missing.wav"]
    found = list(LongFormTranscriber(model, CutOptions(), **OPTIONS)(paths))
    assert [isinstance(one, FailedRecording) for one in found] == [True, False, True, True]
    assert "short.wav: too short: 0.013 s" in str(found[2].error)
    with pytest.raises(AudioError, match=r"short\.wav: too short"):
        model.transcribe_long([good, tmp_path / "short.wav"], **OPTIONS)


def test_collapsed_units_that_fit_are_left_whole(model, monkeypatch, tmp_path):
    """What fits only because runs are collapsed is decoded whole, as before; what does not is cut."""
    extractor = model.unit_extractor
    path = tmp_path / "a.wav"  # twice what the model holds, before runs are collapsed
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 300 * np.arange(2 * RATE) / RATE), RATE)
    collapsing = type(extractor)(extractor.maker, True)
    monkeypatch.setattr(model, "_unit_extractor", collapsing)
    units = collapsing([path])[0]
    transcriber = LongFormTranscriber(model, CutOptions(), **OPTIONS)
    monkeypatch.setattr(transcriber, "_max_units", len(units))
    monkeypatch.setattr(transcriber, "_max_samples", RATE)
    monkeypatch.setattr(long_recordings, "RUNS_AT_MOST", 100)  # a tone collapses more than speech does
    (whole,) = transcriber([path])
    assert len(whole.segments) == 1 and whole.text == model.transcribe_units(units, **OPTIONS)
    monkeypatch.setattr(transcriber, "_max_units", len(units) - 1)
    (cut,) = transcriber([path])
    assert len(cut.segments) > 1


@pytest.fixture
def words(spoken):
    folder, _ = spoken
    checkpoint = folder / "save" / "checkpoint_last.pt"
    return ["--checkpoint", checkpoint, "--data", folder / "data", "--beam", 2, "--max-len-b", 5, "--device", "cpu"]


@pytest.fixture
def folder(tmp_path):
    """Two recordings in folders, one of them long, a broken one and a text file."""
    top = tmp_path / "top"
    bursts(top / "b.wav", 0.5)
    bursts(top / "deep" / "a.flac", 0.5, 0.8, 2.0, seed=1)
    (top / "deep" / "notes.txt").write_text("no recording")
    return top


def test_a_folder_through_the_whole_command(folder, words, model, tmp_path, capsys):
    (folder / "broken.wav").write_bytes(b"RIFF")
    out = tmp_path / "out"
    files = ["--json", out / "all.json", "--srt", "--vtt", "--subtitle-folder", out / "subtitles"]
    assert sld("transcribe", folder, *words, *files) == 1  # one is broken
    printed, said = capsys.readouterr()
    paths = [folder / "b.wav", folder / "deep" / "a.flac"]
    found = [model.transcribe_long(path, **OPTIONS) for path in paths]
    assert printed.splitlines() == [f"{path}\t{one.text}" for path, one in zip(paths, found)]
    assert "sld transcribe: 3 recordings\n" in said and "1 of 3 recordings could not be transcribed" in said
    assert f"1 files skipped, not named like audio: {folder / 'deep' / 'notes.txt'}" in said and "broken.wav" in said
    listed = json.loads((out / "all.json").read_text(encoding="utf-8"))
    assert [one["path"] for one in listed] == [str(folder / "b.wav"), str(folder / "broken.wav"), str(paths[1])]
    assert "not readable as audio" in listed[1]["error"] and "text" not in listed[1]
    assert listed[2] == found[1].to_dict() and len(listed[2]["segments"]) > 1
    assert set(listed[2]["segments"][0]) == {"start", "end", "text", "score", "log_prob", "truncated"}
    for name in ("b", "deep/a"):
        (record,) = (one for one in listed if one["path"].rpartition(".")[0].endswith(f"top/{name}"))
        cues = [one["text"] for one in record["segments"] if one["text"]]
        srt = (out / "subtitles" / f"{name}.srt").read_text(encoding="utf-8")
        vtt = (out / "subtitles" / f"{name}.vtt").read_text(encoding="utf-8")
        assert re.findall(r"^\d\d:\d\d:\d\d,\d{3} --> .*\n(.+)$", srt, re.M) == cues
        assert vtt.startswith("WEBVTT\n") and re.findall(r"^\d\d:.* --> .*\.\d{3}\n(.+)$", vtt, re.M) == cues
    assert sorted(p.name for p in out.rglob("*") if p.is_file()) == ["a.srt", "a.vtt", "all.json", "b.srt", "b.vtt"]


def test_subtitles_beside_the_recordings(folder, words, capsys):
    assert sld("transcribe", folder / "b.wav", *words, "--vtt") == 0
    assert (folder / "b.vtt").read_text().startswith("WEBVTT\n")
    shutil.copy(folder / "b.wav", folder / "b.flac")
    capsys.readouterr()
    assert sld("transcribe", folder, *words, "--vtt") == 1
    assert "b.vtt: subtitles of 2 recordings would be this file; rename them" in capsys.readouterr().err
    assert sld("transcribe", folder / "b.wav", *words, "--subtitle-folder", folder) == 1
    assert "--subtitle-folder: no subtitles are wanted; add --srt or --vtt" in capsys.readouterr().err


def test_nothing_to_transcribe_is_an_error(words, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert sld("transcribe", tmp_path / "empty", *words) == 1
    assert "empty: no recordings found; give files, or folders" in capsys.readouterr().err
