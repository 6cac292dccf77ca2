"""Recordings that lack their end, in every stage that opens audio: left out by name and counted, never shorter."""

from dataclasses import replace

import numpy as np
import pytest
from support.audio_files import RATE_HZ, encoded, noisy_tone
from support.commands import sld

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.manifests.audio_manifest import read_audio_manifest, write_audio_manifest
from sld_user_dir.manifests.rejected import read_rejected, rejected_path
from sld_user_dir.manifests.unit_manifest import read_manifest

ENDINGS = {
    "wav": ".wav",
    "flac": ".flac",
    "mp3": ".mp3",
    "ogg vorbis": ".ogg",
    "ogg opus": ".opus",
    "aiff": ".aiff",
    "au": ".au",
    "sph": ".sph",
}
HEADERS_ALONE = {kind for kind in ENDINGS if kind != "flac"}
COUNT, CUT = 4, 2
TOKENIZER = """
import numpy as np
class Loudness:
    name, fingerprint, sample_rate_hz, frame_rate_hz, num_units = "loudness", "1", 8000, 50.0, 2
    def n_codes(self, n_samples):
        return n_samples // 160
    def encode_batch(self, waves):
        return [(abs(w[: len(w) // 160 * 160].reshape(-1, 160)).mean(1) > 0.1).astype(int) for w in waves]
def load(argument, device):
    return Loudness()
"""


@pytest.fixture(scope="module")
def kmeans(tmp_path_factory):
    """Centroids of MFCC, of no recording."""
    front_end = build_front_end(FeatureConfig())
    path = tmp_path_factory.mktemp("kmeans") / "km.npz"
    frames = np.random.default_rng(0).normal(size=(4, front_end.dim)).astype(np.float32)
    KMeans(frames, {"features": FeatureConfig().to_dict(), "encoder": front_end.encoder}).save(path)
    return path


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A function that writes recordings of a kind, and gives the path of the one to be cut."""

    def write(kind):
        (tmp_path / "audio").mkdir()
        for i in range(COUNT):
            path = tmp_path / "audio" / f"{i}{ENDINGS[kind]}"
            path.write_bytes(encoded(kind, noisy_tone(0.5, seed=i)))
        (tmp_path / "tokenizer.py").write_text(TOKENIZER, encoding="utf-8")
        return tmp_path / "audio" / f"{CUT}{ENDINGS[kind]}"

    monkeypatch.chdir(tmp_path)
    return write


def list_audio(out, *options, source=("--pattern", r"(?P<text>\d)")):
    return sld("audio", "--root", "audio", *source, *options, "--out", out)


def cut(path, share=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def left_out(out):
    return {one.id: one.reason for one in read_rejected(rejected_path(out))}


@pytest.mark.parametrize("kind", ENDINGS)
def test_cut_after_its_manifest_was_made(kind, corpus, kmeans, tmp_path, capsys):
    path = corpus(kind)
    assert list_audio("a.tsv", "--speeds", 1.0, 1.1) == 0
    whole = {one.id for one in read_audio_manifest("a.tsv")}
    lost = {str(CUT), f"sp1.1-{CUT}"}
    assert len(whole) == 2 * COUNT and lost < whole
    cut(path)
    for name, maker in (("units", ["--kmeans", kmeans]), ("codes", ["--tokenizer", "tokenizer.py:load"])):
        out = tmp_path / f"{name}.tsv"
        assert sld("units", "--audio", "a.tsv", *maker, "--out", out) == 0
        assert {one.id for one in read_manifest(out)} == whole - lost
        assert left_out(out).keys() == lost
        assert all("copy it again" in reason for reason in left_out(out).values())
        assert "2 recordings left out" in capsys.readouterr().out
    assert sld("kmeans", "--audio", "a.tsv", "--out", "again.npz", "--num-units", 4, "--device", "cpu") == 0
    assert left_out(tmp_path / "again.npz").keys() == lost
    assert "2 recordings left out" in capsys.readouterr().err
    assert sld("report", "--kmeans", kmeans, "--audio", "a.tsv") == 1
    assert f"{path}: " in capsys.readouterr().err


@pytest.mark.parametrize("headers", [[], ["--header-only"]], ids=["decoded", "headers alone"])
@pytest.mark.parametrize("kind", ENDINGS)
def test_cut_before_its_manifest_is_made(kind, headers, corpus, tmp_path, capsys):
    cut(corpus(kind))
    out = tmp_path / "b.tsv"
    assert list_audio(out, *headers) == 0
    found = {one.id for one in read_audio_manifest(out)}
    expected = {str(CUT)} if kind in HEADERS_ALONE or not headers else set()
    assert left_out(out).keys() == expected and len(found) == COUNT - len(expected)
    assert f"{len(expected)} left out" in capsys.readouterr().out


def test_cut_to_a_whole_file_of_fewer_samples(corpus, kmeans, tmp_path):
    """No container shows this; the manifest does."""
    path = corpus("wav")
    assert list_audio("a.tsv") == 0
    path.write_bytes(encoded("wav", noisy_tone(0.25, seed=CUT)))
    assert sld("units", "--audio", "a.tsv", "--kmeans", kmeans, "--out", "units.tsv") == 0
    (reason,) = left_out(tmp_path / "units.tsv").values()
    assert f"{RATE_HZ // 4} samples, but its manifest says {RATE_HZ // 2}" in reason


def test_a_recording_of_another_rate_than_its_manifest_says(corpus, kmeans, tmp_path, capsys):
    corpus("wav")
    assert list_audio("a.tsv") == 0
    rows = read_audio_manifest("a.tsv")
    write_audio_manifest(
        "b.tsv", [replace(one, sample_rate=8000) if one is rows[CUT] else one for one in rows], tmp_path
    )
    assert sld("units", "--audio", "b.tsv", "--kmeans", kmeans, "--out", "units.tsv") == 0
    (reason,) = left_out(tmp_path / "units.tsv").values()
    assert reason.startswith(f"has {RATE_HZ} samples a second, but its manifest says 8000; restore it")
    assert sld("report", "--kmeans", kmeans, "--audio", "b.tsv") == 1
    assert f"{rows[CUT].path}: has {RATE_HZ} samples a second" in capsys.readouterr().err


@pytest.mark.parametrize("headers", [[], ["--header-only"]], ids=["decoded", "headers alone"])
def test_a_list_that_says_another_length_is_held_against_the_file(headers, corpus, tmp_path, capsys):
    corpus("wav")
    names = [f"{i}.wav" for i in range(COUNT)]
    stated = [RATE_HZ if i == CUT else RATE_HZ // 2 for i in range(COUNT)]
    lines = "".join(f"{name}\t{n}\n" for name, n in zip(names, stated))
    (tmp_path / "list.tsv").write_text(f"{tmp_path / 'audio'}\n{lines}")
    (tmp_path / "list.wrd").write_text("text\n" * COUNT)
    assert list_audio("b.tsv", *headers, source=("--fairseq", "list.tsv")) == 0
    assert "1 left out" in capsys.readouterr().out
    assert left_out(tmp_path / "b.tsv").keys() == {str(CUT)}
    (reason,) = left_out(tmp_path / "b.tsv").values()
    assert f"holds {RATE_HZ // 2} samples, but its manifest says {RATE_HZ}" in reason and "; restore it" in reason
    assert {one.n_samples for one in read_audio_manifest("b.tsv")} == {RATE_HZ // 2}
