"""Units: joined assignment, de-duplication, provenance, subwords, stability, the commands."""

import json
import re
from functools import partial

import numpy as np
import pytest
import soundfile
from support.commands import sld

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.kmeans_file import KMeansError
from sld_user_dir.clustering.stability import PERTURBATIONS, stability_report
from sld_user_dir.clustering.subwords import SubwordError, UnitSubwords, to_text, to_units
from sld_user_dir.clustering.unit_sequences import assign_joined, deduplicate, expand, feature_config_of, provenance
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.manifests.audio_manifest import draw_share
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_manifest import Utterance, read_manifest, write_manifest


@pytest.mark.parametrize("block_frames", [1, 7, 100, 10_000])
def test_joined_assignment_is_that_of_each_utterance(block_frames):
    rng = np.random.default_rng(0)
    kmeans = KMeans(rng.standard_normal((20, 5)).astype(np.float32))
    utterances = [rng.standard_normal((n, 5)).astype(np.float32) for n in (3, 0, 40, 1, 99)]
    joined = list(assign_joined(kmeans, iter(utterances), block_frames))
    assert [len(units) for units in joined] == [3, 0, 40, 1, 99]
    for frames, units in zip(utterances, joined):
        np.testing.assert_array_equal(units, kmeans.assign(frames))
    assert list(assign_joined(kmeans, [])) == []


def test_deduplication_by_hand_and_back():
    units = np.array([5, 5, 5, 2, 2, 5], np.int32)
    short, durations = deduplicate(units)
    assert short.tolist() == [5, 2, 5] and durations.tolist() == [3, 2, 1]
    np.testing.assert_array_equal(expand(short, durations), units)
    assert [len(part) for part in deduplicate(units[:0])] == [0, 0]


def test_provenance_tells_features_and_centroids_apart():
    config = FeatureConfig(sample_rate_hz=8000, stack=2)
    front = build_front_end(config)
    centroids = np.random.default_rng(0).standard_normal((9, 78)).astype(np.float32)
    kmeans = KMeans(centroids, {"encoder": front.encoder, "features": config.to_dict()})
    made_by = provenance(front, kmeans)
    assert (made_by.num_units, made_by.frame_rate_hz, made_by.kmeans) == (9, 50.0, kmeans.sha256)
    assert feature_config_of(kmeans) == config
    prints = {
        made_by.fingerprint,
        provenance(front, kmeans, deduplicated=True).fingerprint,
        provenance(front, KMeans(centroids + 1)).fingerprint,
    }
    assert len(prints) == 3
    other = build_front_end(FeatureConfig(sample_rate_hz=8000, stack=2, normalise="utterance"))
    with pytest.raises(KMeansError, match=r"trained on mfcc-39:8000Hz:mel23\+stack2"):
        provenance(other, kmeans)
    with pytest.raises(KMeansError, match="does not tell its features"):
        feature_config_of(KMeans(centroids))


MFCC = {"encoder": "mfcc-39:8000Hz:mel23", "features": {"features": "mfcc", "sample_rate_hz": 8000}}
WHISPER = {"encoder": "whisper@0", "features": {"features": "a/whisper", "layer": 3, "pad_to_seconds": 30.0}}
SUM = {"encoder": "hubert@0+layers1-2", "features": {"features": "a/hubert", "layers": "1,2"}}
OTHER_ENCODERS = {
    "mfcc, and no directory": (MFCC, "nowhere", "no file or directory, and no name of mfcc-39", "leave"),
    "mfcc, and a directory": (MFCC, "HERE", "another kind of encoder than mfcc-39", "leave"),
    "mfcc, and a name": (MFCC, "openai/whisper-tiny.en", "another kind of encoder than mfcc-39", "leave"),
    "mfcc, and a checkpoint": (MFCC, "hubert.pt", "another kind of encoder than mfcc-39", "leave"),
    "layers, and mfcc": (WHISPER, "mfcc", "another kind of encoder than whisper@0", "name its directory"),
    "padding, and what does not pad": (WHISPER, "HERE", "another kind of encoder than whisper@0", "name its directory"),
    "padding, and no directory": (WHISPER, "nowhere", "no file or directory, and no name of whisper@0", "name its"),
    "a sum of layers, and mfcc": (
        SUM,
        "mfcc",
        r"another kind of encoder than hubert@0\+layers1-2",
        "name its directory",
    ),
}
"""Of a k-means: what it was trained on, where the user says that lies, and what is wrong with that."""


@pytest.mark.parametrize("case", OTHER_ENCODERS)
def test_an_encoder_of_another_kind_than_that_of_the_kmeans_is_refused(case, tmp_path):
    metadata, features, problem, remedy = OTHER_ENCODERS[case]
    kmeans = KMeans(np.zeros((2, 39), np.float32), metadata, "k.npz")
    features = features.replace("HERE", str(tmp_path))
    with pytest.raises(
        EncoderError, match=rf"^--where {re.escape(features)}: {problem}.*, which the k-means k.npz was .*; {remedy}"
    ):
        feature_config_of(kmeans, features, "--where")
    for same in {"mfcc"} if metadata is MFCC else {"b/whisper-moved", metadata["features"]["features"]}:
        assert feature_config_of(kmeans, same) == FeatureConfig(**{**metadata["features"], "features": same})


def unit_lines(n=300, num_units=30):
    """Sequences with repeated words, so that there is something to learn."""
    rng = np.random.default_rng(0)
    words = [rng.integers(0, num_units, rng.integers(2, 5)) for _ in range(20)]
    return [np.concatenate([words[i] for i in rng.integers(0, 20, 8)]).astype(np.int32) for _ in range(n)]


def test_subwords_shorten_and_give_back_the_units(tmp_path):
    lines = unit_lines()
    subwords = UnitSubwords.train(lines, 30, 60)
    assert subwords.num_pieces == 60
    for units in lines[:20]:
        pieces = subwords.encode(units)
        assert len(pieces) < len(units) and pieces.max() < 60
        np.testing.assert_array_equal(subwords.decode(pieces), units)
        assert subwords.lengths(pieces).sum() == len(units)
    rare = np.arange(30, dtype=np.int32)[::-1]  # every unit can be written
    np.testing.assert_array_equal(subwords.decode(subwords.encode(rare)), rare)
    subwords.save(tmp_path / "s.model")
    assert UnitSubwords.load(tmp_path / "s.model").sha256 == subwords.sha256
    assert UnitSubwords.train(lines, 30, 60).sha256 == subwords.sha256
    assert to_text(np.array([0, 1])) == "\u0100\u0101" and to_units("\u0100\u0102").tolist() == [0, 2]


def test_impossible_subwords_are_errors():
    with pytest.raises(SubwordError, match="at most"):
        UnitSubwords.train([], 6000, 7000)
    with pytest.raises(SubwordError, match="more than the 30 units"):
        UnitSubwords.train([], 30, 30)
    with pytest.raises(SubwordError, match=r"--num-pieces 5000: SentencePiece: .*; take fewer pieces"):
        UnitSubwords.train(unit_lines(5), 30, 5000)
    with pytest.raises(SubwordError, match=r"units \[31\]"):
        UnitSubwords.train(unit_lines(), 30, 60).encode(np.array([1, 31], np.int32))


def test_no_model_of_subwords(tmp_path):
    with pytest.raises(SubwordError, match=r"gone\.model: No such file.*; train one with sld subwords"):
        UnitSubwords.load(tmp_path / "gone.model")
    (tmp_path / "text.model").write_text("hello")
    with pytest.raises(SubwordError, match=r"text\.model: not a SentencePiece model"):
        UnitSubwords.load(tmp_path / "text.model")


def test_subword_manifests_keep_frames_and_say_so(tmp_path):
    lines = unit_lines()
    utterances = [
        Utterance(f"u{i}", deduplicate(units)[0], "text", deduplicate(units)[1], {"speaker": "a"})
        for i, units in enumerate(lines)
    ]
    made_by = UnitProvenance("mfcc-39", None, 25.0, "sha256:0", 30, deduplicated=True)
    write_manifest(tmp_path / "train.tsv", utterances, made_by, {"license": "CC0"})
    main = partial(sld, "subwords")
    arguments = [
        "--train",
        tmp_path / "train.tsv",
        "--model",
        tmp_path / "m.model",
        "--num-pieces",
        60,
        "--encode",
        tmp_path / "train.tsv",
        "--out-dir",
        tmp_path / "out",
    ]
    assert main(*arguments) == 0
    result = read_manifest(tmp_path / "out/train.tsv")
    subwords = UnitSubwords.load(tmp_path / "m.model")
    assert result.provenance.subword == subwords.sha256 and result.provenance.num_units == 60
    assert result.header["license"] == "CC0"
    for before, after in zip(utterances, result):
        np.testing.assert_array_equal(subwords.decode(after.units), before.units)
        assert after.durations.sum() == before.durations.sum() and len(after.durations) == len(after.units)
    assert result.provenance.fingerprint != made_by.fingerprint
    assert main("--model", str(tmp_path / "gone"), "--encode", "x", "--out-dir", "y") == 1


def babble(n_samples, seed):
    rng = np.random.default_rng(seed)
    pitch = rng.uniform(100, 300, n_samples // 800 + 1).repeat(800)[:n_samples]
    tone = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / 8000)
    return (tone + 0.01 * rng.standard_normal(n_samples)).astype(np.float32)


def test_stability_grows_worse_with_noise(tmp_path):
    config = FeatureConfig(sample_rate_hz=8000, normalise="utterance")
    front = build_front_end(config)
    waves = [(f"u{i}", babble(8000, i)) for i in range(5)]
    frames = np.concatenate([front(wave) for _, wave in waves])
    kmeans = KMeans.fit(frames, 20, device="cpu")
    report = stability_report(waves, front, kmeans)
    assert set(report) == set(PERTURBATIONS)
    rates = [report[f"noise {snr} dB"]["changed_frames"] for snr in (30, 20, 10)]
    assert 0 < rates[0] < rates[1] < rates[2] <= 1
    assert report["gain -6 dB"]["changed_frames"] < rates[0]  # cepstra are normalised
    assert report == stability_report(waves, front, kmeans)


def test_report_command(tmp_path, capsys):
    made_by = UnitProvenance("mfcc-39", None, 50.0, "sha256:0", 4)
    rows = [Utterance("u1", np.array([0, 0, 1, 1]), "a"), Utterance("u2", np.array([2, 2]), "b")]
    write_manifest(tmp_path / "u.tsv", rows, made_by)
    (tmp_path / "a.ctm").write_text("u1 1 0 0.04 A\nu1 1 0.04 0.04 B\nu2 1 0 0.04 A\n")
    main = partial(sld, "report")
    assert main("--units", str(tmp_path / "u.tsv"), "--alignment", str(tmp_path / "a.ctm")) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["use"]["used_units"] == 3 and report["use"]["bitrate"] == pytest.approx(50 * np.log2(3))
    assert report["labels"]["pnmi"] == pytest.approx(1)
    config = FeatureConfig(sample_rate_hz=8000)
    front = build_front_end(config)
    (tmp_path / "audio.tsv").write_text("id\tpath\nw\tw.wav\n")
    soundfile.write(tmp_path / "w.wav", babble(8000, 0), 8000)
    KMeans(front(babble(8000, 0))[::9], {"features": config.to_dict()}).save(tmp_path / "k.npz")
    assert main("--kmeans", str(tmp_path / "k.npz"), "--audio", str(tmp_path / "audio.tsv")) == 0
    assert set(json.loads(capsys.readouterr().out)["stability"]) == set(PERTURBATIONS)
    (tmp_path / "warped.tsv").write_text("id\tpath\twarp\nw\tw.wav\t0.9\n")
    assert main("--kmeans", str(tmp_path / "k.npz"), "--audio", str(tmp_path / "warped.tsv")) == 1
    assert "warped.tsv: none of its 1 recordings is unwarped; give one" in capsys.readouterr().err
    assert main() == 1


def test_subwords_of_a_share_of_the_utterances(tmp_path):
    lines = unit_lines()
    made_by = UnitProvenance("mfcc-39", None, 25.0, "sha256:0", 30)
    write_manifest(tmp_path / "train.tsv", [Utterance(str(i), line, "text") for i, line in enumerate(lines)], made_by)
    arguments = ["--train", tmp_path / "train.tsv", "--model", tmp_path / "m.model", "--num-pieces", 50, "--share", 0.5]
    assert sld("subwords", *arguments) == 0
    drawn = UnitSubwords.train(draw_share(lines, 0.5), 30, 50)
    assert UnitSubwords.load(tmp_path / "m.model").sha256 == drawn.sha256 != UnitSubwords.train(lines, 30, 50).sha256
