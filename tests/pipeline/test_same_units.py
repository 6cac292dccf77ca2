"""The same seed gives the same units from recordings on, whatever the number of workers, shards and their batches."""

import pytest
import soundfile
from support.audio_files import RATE_HZ, noisy_tone
from support.commands import sld


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
