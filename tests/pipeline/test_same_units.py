"""The same seed gives the same units from recordings on, whatever the number of workers, shards and their batches."""

import numpy as np
import pytest
import soundfile
from support.audio_files import RATE_HZ, noisy_tone
from support.commands import sld

from sld_user_dir.features.encoders.mfcc import MfccExtractor
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.features.waveform import load_audio
from sld_user_dir.manifests.audio_manifest import read_audio_manifest
from sld_user_dir.pipeline.stream import StreamConfig, stream_frames


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(6):
        soundfile.write(folder / f"r{number}.wav", noisy_tone(0.4 + 0.1 * number, seed=number), RATE_HZ)
        (folder / f"r{number}.txt").write_text("one two", encoding="utf-8")
    return folder


def made(recordings, folder, *, seed=0, workers=1, shards=1, batch_seconds=60.0):
    """The bytes of the three files that make units of recordings."""
    audio, kmeans, units = (folder / name for name in ("a.audio.tsv", "k.npz", "u.tsv"))
    many = ("--shards", shards)
    assert sld("audio", "--root", recordings, "--out", audio, "--workers", workers, *many) == 0
    options = ("--num-units", 5, "--device", "cpu", "--seed", seed, "--batch-seconds", batch_seconds, *many)
    assert sld("kmeans", "--audio", audio, "--out", kmeans, *options) == 0
    assert (
        sld("units", "--audio", audio, "--kmeans", kmeans, "--out", units, "--batch-seconds", batch_seconds, *many) == 0
    )
    return [path.read_bytes() for path in (audio, kmeans, units)]


def test_units(recordings, tmp_path):
    first = made(recordings, tmp_path / "a")
    assert made(recordings, tmp_path / "b") == first
    assert made(recordings, tmp_path / "c", workers=3, shards=2, batch_seconds=0.5) == first
    other = made(recordings, tmp_path / "d", seed=1)
    assert other[0] == first[0] and other[1] != first[1]


def test_each_recording_is_warped_by_its_own_factor(recordings, tmp_path):
    """In a window of several, frames come back in the recordings' order."""
    audio = tmp_path / "a.audio.tsv"
    assert sld("audio", "--root", recordings, "--out", audio, "--warps", 1.1, 1.0, 0.9, "--speeds", 1.0, 0.9) == 0
    rows = read_audio_manifest(audio)
    assert any(one.id.startswith("sp0.9-vtlp1.1-") for one in rows)  # the speed first, where its readers look
    assert len(rows) == 36 and {(one.speed, one.warp) for one in rows} == {
        (s, w) for s in (1, 0.9) for w in (0.9, 1, 1.1)
    }
    front_end = build_front_end(FeatureConfig(sample_rate_hz=RATE_HZ), "cpu")
    mixed = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    for framed in stream_frames(mixed, front_end, StreamConfig()):
        one = framed.recording
        assert one is mixed.pop(0)
        extractor = MfccExtractor(RATE_HZ, warp=one.warp)
        assert np.array_equal(framed.frames, extractor(load_audio(one.path, RATE_HZ, one.speed, one.n_samples)))
