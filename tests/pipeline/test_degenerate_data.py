"""Data that trains garbage: every stage that reads it warns once, with a count, and goes on."""

import json

import numpy as np
import pytest
import soundfile
from support.audio_files import RATE_HZ, noisy_tone
from support.commands import sld

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.unit_coverage import FEWEST_FRAMES_PER_UNIT, few_frames, unused_units
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.features.resampling import resample
from sld_user_dir.manifests.manifest_counts import frames_of_units

COUNT = 4
DAMAGES = {
    "cancelled": (lambda wave: np.stack([wave, -wave], axis=1), "cancel each other"),
    "clipped": (lambda wave: np.clip(10 * wave, -1, 1), "clipped at full scale"),
    "silent": (lambda wave: np.zeros_like(wave), "digital silence"),
    "narrow": (lambda wave: resample(resample(wave, RATE_HZ, 8000), 8000, RATE_HZ), "no energy above 4 kHz"),
}
STAGES = {
    "audio": ["audio", "--root", "audio", "--pattern", r"(?P<text>\d)", "--out", "again.tsv"],
    "kmeans": ["kmeans", "--audio", "a.tsv", "--num-units", 2, "--device", "cpu", "--out", "again.npz"],
    "units": ["units", "--audio", "a.tsv", "--kmeans", "km.npz", "--out", "units.tsv"],
    "units by speaker": ["units", "--audio", "a.tsv", "--kmeans", "by_speaker.npz", "--out", "units.tsv"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Recordings, their manifest, and k-means files of two units."""
    (tmp_path / "audio").mkdir()
    for i in range(COUNT):
        soundfile.write(tmp_path / "audio" / f"{i}.wav", noisy_tone(0.5, seed=i), RATE_HZ)
    monkeypatch.chdir(tmp_path)
    assert sld("audio", "--root", "audio", "--pattern", r"(?P<text>(?P<speaker>\d))", "--out", "a.tsv") == 0
    for name, config in (("km", FeatureConfig()), ("by_speaker", FeatureConfig(normalise="speaker"))):
        save_kmeans(tmp_path / f"{name}.npz", config, 2)
    return tmp_path


def save_kmeans(path, config, num_units):
    front_end = build_front_end(config)
    frames = np.random.default_rng(0).normal(size=(num_units, front_end.dim)).astype(np.float32)
    KMeans(frames, {"features": config.to_dict(), "encoder": front_end.encoder}).save(path)


def said_of(capsys, part):
    """Lines on standard error that hold a part, without their time."""
    return [line.split(" ", 1)[1] for line in capsys.readouterr().err.split("\n") if part in line]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_stage_warns_once_with_a_count(damage, stage, folder, capsys):
    change, part = DAMAGES[damage]
    damaged = range(COUNT) if damage != "clipped" else range(1, 3)  # not all, so that k-means has frames to tell apart
    rng = np.random.default_rng(0)
    for i in damaged:
        wave = change(noisy_tone(0.5, seed=i))
        soundfile.write(folder / "audio" / f"{i}.wav", wave, RATE_HZ)
    if damage in ("silent", "cancelled"):  # enough of another kind for a k-means
        damaged = range(1, 3)
        for i in (0, 3):
            soundfile.write(folder / "audio" / f"{i}.wav", 0.1 * rng.standard_normal(RATE_HZ // 2), RATE_HZ)
    capsys.readouterr()
    assert sld(*STAGES[stage]) == 0
    (message,) = said_of(capsys, part)
    assert message.startswith(f"{len(damaged)} of {COUNT} recordings have ")
    assert f"{damaged[0]}.wav" in message


@pytest.mark.parametrize("stage", STAGES)
def test_good_recordings_give_no_warning(stage, folder, capsys):
    capsys.readouterr()
    assert sld(*STAGES[stage]) == 0
    said = capsys.readouterr().err
    assert "recordings have" not in said and "never occur" not in said and "a unit" not in said


def test_too_few_frames_for_the_units_are_said(folder, capsys):
    n_frames = 50 * (COUNT - 1)  # one recording is held out
    words = ["kmeans", "--audio", "a.tsv", "--device", "cpu"]
    assert sld(*words, "--num-units", n_frames // FEWEST_FRAMES_PER_UNIT - 2, "--out", "enough.npz") == 0
    assert said_of(capsys, "a unit") == []
    assert sld(*words, "--num-units", 30, "--out", "few.npz") == 0
    (message,) = said_of(capsys, "a unit")
    assert "frames for 30 units are fewer than 10 a unit" in message and "units at most" in message


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("options", [[], ["--deduplicate"]])
def test_units_that_never_occur_are_said(options, shards, folder, capsys):
    """Of the whole output: a shard of four has too few frames to tell."""
    save_kmeans(folder / "many.npz", FeatureConfig(), 15)
    words = ["units", "--audio", "a.tsv", "--kmeans", "many.npz", "--out", "units.tsv", "--shards", shards]
    assert sld(*words, *options) == 0
    (message,) = said_of(capsys, "never occur")
    n_frames = json.loads((folder / "units.tsv.ledger.json").read_text())["out"]["counts"]["frames"]
    assert message.startswith("units.tsv: ") and f"of 15 units never occur in {n_frames} frames" in message


def test_units_that_occur_in_some_shards_only_are_used(folder, capsys):
    front_end = build_front_end(FeatureConfig())
    kinds = [np.zeros(RATE_HZ // 2, np.float32), noisy_tone(0.5)]
    for i in range(COUNT):
        soundfile.write(folder / "audio" / f"{i}.wav", kinds[i // 2], RATE_HZ)
    centroids = np.stack([front_end(wave).mean(axis=0) for wave in kinds])
    KMeans(centroids, {"features": FeatureConfig().to_dict(), "encoder": front_end.encoder}).save(folder / "two.npz")
    assert sld("units", "--audio", "a.tsv", "--kmeans", "two.npz", "--out", "units.tsv", "--shards", 2) == 0
    assert said_of(capsys, "never occur") == []
    counts = frames_of_units(folder / "units.tsv")
    assert counts.sum() > 150 and min(counts) > 50


def test_what_is_said_of_units():
    assert few_frames(10, 1) is None and "give more speech" in str(few_frames(19, 2))
    assert "9 frames for 1 units" in str(few_frames(9, 1)) and "take" not in str(few_frames(9, 1))
    counts = np.zeros(2000, np.int64)
    counts[:171] = 200
    assert "1829 of 2000 units never occur in 34200 frames" in str(unused_units(counts))
    assert unused_units(np.array([10, 10])) is None
    assert unused_units(np.array([19, 0])) is None  # too few frames to tell
