"""MFCC against a slow computation of our own, frame counts, normalisation."""

import numpy as np
import pytest

from sld_user_dir.devices import DeviceError
from sld_user_dir.errors import InputError
from sld_user_dir.features.cmvn import CmvnStats, normalise
from sld_user_dir.features.encoders.mfcc import MfccExtractor
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.front_end import FrontEnd, build_front_end
from sld_user_dir.features.warped_cepstra import WarpedCepstra


def noise(n_samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def slow_mfcc(wave, rate):
    """Kaldi's recipe written out: povey window, power spectrum, mel bins, DCT, lifter, log energy."""
    shift, length = rate // 100, rate // 40
    size = 1 << (length - 1).bit_length()
    window = np.hanning(length) ** 0.85

    def mel(hz):
        return 1127 * np.log(1 + np.asarray(hz) / 700)

    edges = np.linspace(mel(20), mel(rate / 2), 25)
    bins = mel(np.arange(size // 2) * rate / size)
    up = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.clip(np.minimum(up, down), 0, None)
    dct = np.sqrt(2 / 23) * np.cos(np.pi / 23 * np.arange(13)[:, None] * (np.arange(23) + 0.5))
    lifter = 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
    frames = []
    for start in range(0, len(wave) - length + 1, shift):
        x = wave[start : start + length].astype(np.float64) * 32768
        x -= x.mean()
        energy = np.log(np.square(x).sum())
        x = np.append(x[0] * 0.03, x[1:] - 0.97 * x[:-1]) * window
        power = np.square(np.abs(np.fft.rfft(x, size)))[:-1]
        cepstra = dct @ np.log(filters @ power) * lifter
        cepstra[0] = energy
        frames.append(cepstra)
    return np.array(frames)


def slow_deltas(frames):
    """Regression slopes over two frames on either side; the second order by the filter twice."""
    once = np.array([-2, -1, 0, 1, 2]) / 10

    def filtered(kernel):
        reach = len(kernel) // 2
        rows = [
            sum(k * frames[np.clip(t + j - reach, 0, len(frames) - 1)] for j, k in enumerate(kernel))
            for t in range(len(frames))
        ]
        return np.array(rows)

    return np.concatenate([frames, filtered(once), filtered(np.convolve(once, once))], axis=1)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_agrees_with_the_recipe_written_out(rate):
    wave = noise(rate // 2)
    expected = slow_deltas(slow_mfcc(wave, rate))
    np.testing.assert_allclose(MfccExtractor(rate)(wave), expected, atol=2e-2)


@pytest.mark.parametrize("n_samples, n_frames", [(0, 0), (199, 0), (200, 1), (279, 1), (280, 2), (8000, 98)])
def test_frame_counts_at_8_khz(n_samples, n_frames):
    extractor = MfccExtractor(8000)
    assert extractor(noise(n_samples)).shape == (n_frames, 39)
    assert extractor.n_frames(n_samples) == n_frames


def test_same_audio_same_frames():
    wave = noise(8000)
    np.testing.assert_array_equal(MfccExtractor(8000)(wave), MfccExtractor(8000)(wave.copy()))


def test_statistics_of_pieces_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    frames = (1e4 + rng.standard_normal((1000, 3))).astype(np.float32)  # where sums of squares cancel
    stats = CmvnStats(3)
    for piece in np.split(frames, [10, 11, 500]):
        stats.add(piece)
    stats.add(frames[:0])
    np.testing.assert_allclose(stats.mean, frames.mean(axis=0, dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(stats.std, frames.std(axis=0, dtype=np.float64), rtol=1e-6)


def test_normalised_frames_have_mean_0_and_variance_1():
    frames = np.random.default_rng(0).normal(5, 3, (200, 4)).astype(np.float32)
    frames[:, 3] = 7  # digital silence must not explode
    out = normalise(frames)
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(out.std(axis=0)[:3], 1, atol=1e-4)
    assert np.abs(out[:, 3]).max() < 1


def test_front_end_stacks_normalises_and_names_what_it_does():
    config = FeatureConfig(sample_rate_hz=8000, normalise="utterance", stack=4)
    front = build_front_end(config)
    frames = front(noise(8000))
    assert frames.shape == (front.n_frames(8000), front.dim) == (25, 156)
    assert front.frame_rate_hz == 25
    assert front.encoder == "mfcc-39:8000Hz:mel23+cmvn-utterance+stack4"
    other = build_front_end(FeatureConfig(sample_rate_hz=8000, normalise="none", stack=4))
    assert np.abs(other(noise(8000)) - frames).max() > 1


def test_speaker_statistics_are_wanted_and_used():
    front = build_front_end(FeatureConfig(sample_rate_hz=8000, normalise="speaker"))
    with pytest.raises(ValueError, match="speaker's statistics"):
        front(noise(4000))
    stats = front.new_stats()
    for seed in range(3):
        front.add_speaker_stats(noise(4000, seed), stats)
    together = np.concatenate([front(noise(4000, seed), stats) for seed in range(3)])
    np.testing.assert_allclose(together.mean(axis=0), 0, atol=1e-3)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"normalise": "all"}, "--normalise all: .*choose one of"),
        ({"stack": 0}, "--stack 0: .*1 frame or more"),
        ({"layer": 3}, "mfcc --layer 3: it has no layers"),
        ({"features": "x"}, "--features x: it has layers; say which to take"),
        ({"sample_rate_hz": 0}, "--sample-rate-hz 0: no sample rate; take 8000"),
        ({"chunk_seconds": 0}, "--chunk-seconds 0: pieces of no length"),
        ({"context_seconds": -1}, "--context-seconds -1: less than no context"),
    ],
)
def test_impossible_descriptions_are_errors(options, message):
    with pytest.raises(InputError, match=message):
        build_front_end(FeatureConfig(**options))


def test_a_device_that_is_none_is_an_error_though_mfcc_takes_none():
    with pytest.raises(DeviceError, match="--device tpu: no such device; choose auto, cpu, cuda"):
        build_front_end(FeatureConfig(), "tpu")
    assert build_front_end(FeatureConfig(), "cuda").on_gpu is False


def test_a_warp_of_one_changes_nothing_and_others_move_the_filters():
    """Against kaldi-native-fbank's own chain; a tone lies higher among filters that stand lower."""
    wave = noise(4000)
    plain = MfccExtractor(8000)
    options = plain._options
    assert np.allclose(WarpedCepstra(options, 1.0)(wave * 32768), plain(wave)[:, :13], atol=1e-3)

    def place(warp):
        tone = np.sin(2 * np.pi * 1500 * np.arange(256) / 8000).astype(np.float32)
        power = np.abs(np.fft.rfft(tone)) ** 2
        energies = power @ WarpedCepstra(options, warp)._filters
        return (energies @ np.arange(len(energies))) / energies.sum()

    assert place(0.9) < place(1.0) - 0.5 < place(1.1) - 1
    assert not np.allclose(plain.warped(1.1)(wave), plain(wave), atol=0.1)


def test_the_front_end_warps_with_normalisation_and_refuses_other_encoders():
    config = FeatureConfig(normalise="speaker", sample_rate_hz=8000)
    front_end, wave = build_front_end(config), noise(4000)
    warped = front_end.warped(1.1)
    assert (
        front_end.warped(1.0) is front_end and front_end.warped(1.1) is warped and warped.encoder == front_end.encoder
    )
    stats = warped.new_stats()
    warped.add_speaker_stats(wave, stats)
    frames = warped(wave, stats)
    assert np.allclose(frames.mean(0), 0, atol=1e-4) and frames.shape == front_end(wave, stats).shape

    class Plain:
        sample_rate_hz, frame_rate_hz, dim, layer, encoder, model_name = 8000, 50.0, 4, 3, "plain", "some/encoder"

    with pytest.raises(InputError, match=r"--features some/encoder: cannot warp .*; take mfcc, or a list without"):
        FrontEnd(Plain(), FeatureConfig()).warped(0.9)
