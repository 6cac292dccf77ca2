"""A model that listens: partial texts, and final ones that are those of offline decoding."""

import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from support.commands import sld

from sld_user_dir import hub
from sld_user_dir.streaming.heard_audio import ListenOptions

OPTIONS = {"beam": 2, "max_len_b": 5}


@pytest.fixture(scope="module")
def model(spoken):
    folder, _ = spoken
    return hub.load(folder / "save" / "checkpoint_last.pt", data=folder / "data", device="cpu")


@pytest.mark.parametrize("agreement", [1, 2])
def test_the_final_text_of_units_is_that_of_offline_decoding(model, spoken, agreement):
    _, recordings = spoken
    for units in model.units_of([one.path for one in recordings]):
        chunks = [units[i : i + 7] for i in range(0, len(units), 7)]
        *partial, final = model.listen_to_units(chunks, agreement=agreement, **OPTIONS)
        assert final.is_final and final.text == model.transcribe_units(units, **OPTIONS)
        assert len(partial) == len(chunks) and not any(one.is_final for one in partial)
        kept = list(model.listen_to_units(chunks, agreement=agreement, keep_settled=True, **OPTIONS))
        settled = kept[-2].settled
        assert kept[-1].settled[: len(settled)] == settled and kept[-1].taken_back == 0


def test_the_final_text_of_audio_is_that_of_offline_decoding(model, spoken):
    path = spoken[1][2].path
    wave = soundfile.read(path, dtype="float32")[0]
    listener = model.listener(ListenOptions(chunk_seconds=0.2, end_pause_seconds=0), **OPTIONS)
    assert listener.sample_rate_hz == 8000
    *partial, final = listener(np.array_split(wave, 9))
    assert final.text == model.transcribe(path, **OPTIONS)
    assert [round(one.heard_seconds, 3) for one in partial] == [0.2, 0.4, 0.6, 0.7] and final.segment == 0


def test_pauses_end_segments(model):
    rng = np.random.default_rng(0)
    parts = [(0.2 if i % 2 == 0 else 1e-4) * rng.standard_normal(int(8000 * s)) for i, s in enumerate([0.4, 0.5, 0.4])]
    wave = np.concatenate(parts).astype(np.float32)
    options = ListenOptions(chunk_seconds=0.1, end_pause_seconds=0.3)
    found = [one for one in model.listener(options, **OPTIONS)([wave]) if one.partial.is_final]
    assert [one.segment for one in found] == [0, 1]
    assert found[0].start_seconds == 0 and 0.5 < found[1].start_seconds < 0.9 and found[1].heard_seconds == 1.3


def test_a_stream_longer_than_the_model_holds_is_heard_in_segments(model, monkeypatch):
    listener = model.listener(ListenOptions(chunk_seconds=0.3, end_pause_seconds=0), **OPTIONS)
    most, chunk = 8000, 2400
    monkeypatch.setattr(listener, "_max_samples", most)
    encoded, units_of = [], listener._units_of
    monkeypatch.setattr(listener, "_units_of", lambda wave: encoded.append(wave) or units_of(wave))
    rng = np.random.default_rng(1)
    blocks = [(0.1 * rng.standard_normal(800)).astype(np.float32) for _ in range(32)]
    final = [one for one in listener(iter(blocks)) if one.partial.is_final]
    ends = [one.start_seconds for one in final[1:]] + [3.2]
    lengths = [end - one.start_seconds for one, end in zip(final, ends)]
    assert [one.segment for one in final] == list(range(len(final))) and final[0].start_seconds == 0
    assert max(lengths) <= most / 8000 and min(lengths[:-1]) >= 0.5
    # neither sound nor units of earlier segments are kept
    assert max(map(len, encoded)) <= most + chunk
    assert len(listener.decode.decoders[0]._past) <= model.unit_extractor.n_frames(most + chunk) + 2
    wave = np.concatenate(blocks)
    for one, end in zip(final, ends):
        units = units_of(wave[round(one.start_seconds * 8000) : round(end * 8000)]).units
        assert one.text == model.transcribe_units(units, **OPTIONS)


def test_the_command(spoken, tmp_path, capsys, monkeypatch, caplog):
    folder, recordings = spoken
    path = recordings[1].path
    words = [folder / "save" / "checkpoint_last.pt", path, "--data", folder / "data", "--max-len-b", 5, "--beam", 2]
    assert sld("listen", *words, "--device", "cpu", "--end-pause-seconds", 0) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    final = lines[-1].split("\t")
    assert final[:2] == ["0.60", "final"] and "heard 0.60 s" in printed.err
    assert "normalised over the whole recording" in caplog.text
    wave = soundfile.read(path, dtype="float32")[0]
    soundfile.write(tmp_path / "broken.wav", np.append(wave, np.float32(np.nan)), 8000, subtype="FLOAT")
    broken = [*words[:1], tmp_path / "broken.wav", *words[2:]]
    assert sld("listen", *broken, "--device", "cpu", "--end-pause-seconds", 0) == 1
    failed = capsys.readouterr()
    assert failed.out and failed.out == "".join(f"{one}\n" for one in lines[: len(failed.out.splitlines())])
    assert "broken.wav: holds NaN" in failed.err
    samples = (wave * 32768).round().astype("<i2")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(samples.tobytes())))
    words[1] = "-"
    assert sld("listen", *words, "--device", "cpu", "--rate", 8000, "--json", "--end-pause-seconds", 0) == 0
    *_, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert last["final"] and last["settled"] == "".join(final[2:]) and last["heard"] == 0.6
    assert sld("listen", *words, "--pace", "nan") == 1
    assert "--pace nan: time does not run backwards" in capsys.readouterr().err
    assert sld("listen", *words, "--pace", -1) == 1


@pytest.mark.parametrize(
    ("samples", "said"), [(0, "no samples"), (200, "too short: 0.025 s, at least 0.1 s wanted")], ids=["none", "few"]
)
@pytest.mark.parametrize("chunk_seconds", [0.4, 0.02])
def test_a_stream_that_ends_too_soon_is_an_error(samples, said, chunk_seconds, spoken, capsys, monkeypatch):
    folder, _ = spoken
    words = [folder / "save" / "checkpoint_last.pt", "-", "--data", folder / "data", "--rate", 8000, "--device", "cpu"]
    pcm = np.random.default_rng(0).integers(-9, 9, samples).astype("<i2").tobytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(pcm)))
    assert sld("listen", *words, "--chunk-seconds", chunk_seconds, "--max-len-b", 5) == 1
    printed = capsys.readouterr()
    assert f"sld listen: standard input: {said}" in printed.err
    assert "final" not in printed.out and (chunk_seconds < 0.1 or "partial" not in printed.out)


def test_digital_silence_is_said(spoken, tmp_path, capsys):
    folder, _ = spoken
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    words = [folder / "save" / "checkpoint_last.pt", tmp_path / "silent.wav", "--data", folder / "data"]
    assert sld("listen", *words, "--max-len-b", 5, "--device", "cpu") == 0
    assert f"sld listen: {tmp_path / 'silent.wav'}: digital silence for half of its length" in capsys.readouterr().err
