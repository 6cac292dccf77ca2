"""Digits of Speech Commands: found by word, each used once, one speaker a string, at the rate of the other digits."""

import numpy as np
import pytest
import soundfile

from sld_user_dir.corpora.connected_digits import SAMPLE_RATE_HZ, WORDS
from sld_user_dir.corpora.speech_commands import draw_once, find_commands, write_voices
from sld_user_dir.errors import InputError
from sld_user_dir.manifests.audio_manifest import read_audio_manifest

VOICES = ("00ab", "11cd", "22ef")


@pytest.fixture
def commands(tmp_path):
    """Three voices say two digits three times, and one word that is no digit."""
    time = np.arange(1600) / 16000
    for word in ("five", "zero", "left"):
        folder = tmp_path / "commands" / word
        folder.mkdir(parents=True)
        for voice in VOICES:
            for take in range(3):
                wave = 0.3 * np.sin(2 * np.pi * (300 + 100 * take) * time)
                soundfile.write(folder / f"{voice}_nohash_{take}.wav", wave, 16000)
        (folder / f"._{VOICES[0]}_nohash_0.wav").write_bytes(b"what another system keeps beside a file")
    return tmp_path / "commands"


def test_only_digits_are_found(commands):
    found = find_commands(commands)
    assert len(found) == 18 and {one.digit for one in found} == {0, 5} and {one.speaker for one in found} == set(VOICES)


def test_every_recording_is_used_once_in_a_string_of_its_speaker(commands):
    found = find_commands(commands)
    strings = list(draw_once(found, np.random.default_rng(0), longest=4))
    assert sorted(one.path for string in strings for one in string) == sorted(one.path for one in found)
    assert all(len({one.speaker for one in string}) == 1 and len(string) <= 4 for string in strings)


def test_text_length_and_speaker_of_a_string(commands, tmp_path):
    recordings = list(read_audio_manifest(write_voices(find_commands(commands), tmp_path)))
    assert sum(len(one.text.split()) for one in recordings) == 18
    for one in recordings:
        assert one.speaker in VOICES and set(one.text.split()) <= set(WORDS)
        assert one.sample_rate == SAMPLE_RATE_HZ == soundfile.info(one.path).samplerate
        assert one.n_samples == 800 * len(one.text.split())
        assert [name.partition("/")[0] for name in one.fields["digits"].split()] == one.text.split()


def test_the_same_recordings_give_the_same_manifest(commands, tmp_path):
    first, second = (write_voices(find_commands(commands), tmp_path / run) for run in "ab")
    assert first.read_bytes().replace(b"/a", b"/b") == second.read_bytes().replace(b"/a", b"/b")


def test_a_folder_without_digits_is_refused(tmp_path):
    with pytest.raises(InputError, match="no recordings of digits named like five/"):
        find_commands(tmp_path)
