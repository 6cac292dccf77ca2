"""The guide's tokenizer: its blocks run exactly as they stand, its commands through training to transcripts."""

import numpy as np
import pytest
import soundfile
from support.commands import sld
from support.guides import python_blocks
from support.miniature import train

from sld_user_dir import hub
from sld_user_dir.manifests.audio_manifest import Recording, write_audio_manifest
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.vocabulary.building import build_vocabulary

OPTIONS = {"beam": 2, "max_len_b": 5}


@pytest.fixture
def guide(tmp_path, monkeypatch):
    """A folder with the guide's file in it, and the names of its test."""
    source, test = python_blocks("add_a_tokenizer.md")
    (tmp_path / "band_codes.py").write_text(source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    namespace = {}
    exec(compile(test, "guide_test.py", "exec"), namespace)
    return namespace


def write_corpus(folder, sample_rate_hz=16000) -> list:
    """Tones of three heights with noise, at another rate than the tokenizer's, and their audio manifest."""
    rows = []
    for i in range(6):
        path = folder / f"{i}.wav"
        rng = np.random.default_rng(i)
        time = np.arange(int((0.4 + 0.03 * i) * sample_rate_hz)) / sample_rate_hz
        wave = 0.3 * np.sin(2 * np.pi * (300, 1000, 2000)[i % 3] * time) + 0.02 * rng.standard_normal(len(time))
        soundfile.write(path, wave, sample_rate_hz)
        rows.append(Recording(str(i), path, len(time), sample_rate_hz, ("low", "middle", "high")[i % 3], "s"))
    write_audio_manifest(folder / "train.audio.tsv", rows, folder)
    return rows


def test_the_test_of_the_guide(guide):
    guide["test_band_codes_are_units"]()


def test_units_vocabulary_training_and_transcripts(guide, tmp_path, capsys):
    recordings = write_corpus(tmp_path)
    for split in ("train", "valid"):
        words = ["--audio", "train.audio.tsv", "--tokenizer", "band_codes.py:load", "--out", f"data/{split}.tsv"]
        assert sld("units", *words) == 0
    manifest = read_manifest(tmp_path / "data" / "train.tsv")
    assert manifest.provenance.num_units == 32 and manifest.provenance.frame_rate_hz == 50
    assert manifest.header["tokenizer"] == "band_codes.py:load"
    assert [len(one.units) for one in manifest] == [len(range(0, r.n_samples // 2 - 159, 160)) for r in recordings]
    usual = [np.bincount(one.units).argmax() for one in manifest]
    assert usual == [0b00001, 0b00100, 0b01000] * 2
    build_vocabulary(tmp_path / "data", "word")
    train(tmp_path / "data", tmp_path / "save", updates=2)
    checkpoint = tmp_path / "save" / "checkpoint_last.pt"
    model = hub.load(checkpoint, data="data", tokenizer="band_codes.py:load", device="cpu")
    files = [one.path for one in recordings]
    assert model.units_of(files) == [one.units.tolist() for one in manifest]
    expected = [f"{path}\t{text}" for path, text in zip(files, model.transcribe(files, **OPTIONS))]
    words = ["--checkpoint", checkpoint, "--data", "data", "--beam", 2, "--max-len-b", 5]
    capsys.readouterr()
    assert sld("transcribe", *files, *words, "--tokenizer", "band_codes.py:load") == 0
    assert capsys.readouterr().out.splitlines() == expected
    assert sld("transcribe", *files, *words) == 1  # code of the user's own is not run by itself
    assert "which its manifests call band_codes.py:load; code of your own is run only" in capsys.readouterr().err
    assert sld("transcribe", *files, *words, "--tokenizer", "band_codes.py:load:3600") == 1
    said = capsys.readouterr().err
    assert "band_codes.py:load:3600: it makes units" in said and "but the model was trained on" in said
