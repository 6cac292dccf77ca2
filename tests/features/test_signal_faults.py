"""Recordings that make poor units: each fault is found in every container, and in no good recording."""

import logging

import numpy as np
import pytest
import soundfile
from support.audio_files import RATE_HZ, noisy_tone

from sld_user_dir.features.resampling import resample
from sld_user_dir.features.signal_faults import FAULTS, FaultCounts, signal_faults
from sld_user_dir.features.waveform import load_audio

CONTAINERS = ("wav", "flac", "ogg", "mp3", "aiff")


def speech_like(seconds=1.0, rate_hz=RATE_HZ, seed=0):
    """Syllables of coloured noise: bursts 20 dB above their pauses, falling by 12 dB an octave from 500 Hz on."""
    n = int(seconds * rate_hz)
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum /= 1 + (np.fft.rfftfreq(n, 1 / rate_hz) / 500) ** 2
    wave = np.fft.irfft(spectrum, n)
    wave *= np.where(np.sin(2 * np.pi * 4 * np.arange(n) / rate_hz) > 0, 1.0, 0.1)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def cancelled(wave):
    return np.stack([wave, -wave], axis=1), RATE_HZ


def clipped(wave):
    return np.clip(4 * wave, -1, 1), RATE_HZ


def silent(wave):
    return np.concatenate([wave, np.zeros(2 * len(wave), np.float32)]), RATE_HZ


def narrow(wave):
    return resample(resample(wave, RATE_HZ, 8000), 8000, RATE_HZ), RATE_HZ


DAMAGES = {"cancelled": cancelled, "clipped": clipped, "silent": silent, "narrow": narrow}
GOOD = {
    "mono": lambda wave: (wave, RATE_HZ),
    "stereo": lambda wave: (np.stack([wave, wave], axis=1), RATE_HZ),
    "a speaker on each channel": lambda wave: (np.stack([wave, speech_like(seed=99)], axis=1), RATE_HZ),
    "one channel empty": lambda wave: (np.stack([wave, 1e-3 * speech_like(seed=9)], axis=1), RATE_HZ),
    "one channel dead": lambda wave: (np.stack([wave, np.zeros_like(wave)], axis=1), RATE_HZ),
    "at full scale": lambda wave: (wave / np.abs(wave).max(), RATE_HZ),
    "quiet": lambda wave: (0.02 * wave, RATE_HZ),
    "a pause": lambda wave: (np.concatenate([wave, np.zeros(len(wave) // 2, np.float32)]), RATE_HZ),
    "8 kHz": lambda wave: (resample(wave, RATE_HZ, 8000), 8000),
    "44.1 kHz": lambda wave: (resample(wave, RATE_HZ, 44_100), 44_100),
    "offset": lambda wave: (wave + 0.2, RATE_HZ),
}


def test_every_fault_has_its_damage():
    assert DAMAGES.keys() == FAULTS.keys()


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("fault", DAMAGES)
def test_a_fault_is_found(fault, container, tmp_path):
    counts = FaultCounts()
    for seed in range(3):
        wave, rate_hz = DAMAGES[fault](speech_like(seed=seed))
        soundfile.write(tmp_path / f"{seed}.{container}", wave, rate_hz)
        load_audio(tmp_path / f"{seed}.{container}", 16_000, faults=counts)
    assert (counts.seen, counts.counts[fault]) == (3, 3)
    (message,) = counts.messages()
    assert message.startswith(f"3 of 3 recordings have {FAULTS[fault]}") and f"0.{container}" in message


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_good_recording_has_none(kind, container, tmp_path):
    wave, rate_hz = GOOD[kind](speech_like())
    soundfile.write(tmp_path / f"a.{container}", wave, rate_hz)
    counts = FaultCounts()
    load_audio(tmp_path / f"a.{container}", 16_000, faults=counts)
    assert counts.seen == 1 and counts.messages() == []


def test_narrow_band_is_said_of_most_recordings_only(tmp_path, caplog):
    counts = FaultCounts()
    good, bad = speech_like()[:, None], narrow(speech_like())[0][:, None]
    for i, samples in enumerate([good, good, bad]):
        counts.add(tmp_path / str(i), samples, RATE_HZ)
    assert counts.counts["narrow"] == 1 and counts.messages() == []
    counts.add(tmp_path / "3", bad, RATE_HZ)
    assert counts.messages() == []  # a half is not most
    counts.add(tmp_path / "4", bad, RATE_HZ)
    with caplog.at_level(logging.WARNING):
        counts.warn()
    (record,) = caplog.records
    assert "3 of 5 recordings" in record.message and "8000" in record.message and str(tmp_path / "2") in record.message


@pytest.mark.parametrize("samples", [np.zeros((1, 1)), np.zeros((0, 2)), np.full((400, 3), 0.1), np.zeros((9000, 2))])
def test_a_constant_is_silence(samples):
    assert signal_faults(samples.astype(np.float32), RATE_HZ) == (["silent"] if len(samples) != 1 else [])


def test_a_tone_in_noise_is_good():
    assert signal_faults(noisy_tone()[:, None], RATE_HZ) == []
