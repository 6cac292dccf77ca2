"""Where recordings are cut: properties over made-up recordings of tones, noise and pauses."""

import sys
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sld_user_dir.errors import InputError
from sld_user_dir.longform import silero_detector
from sld_user_dir.longform.cutting import (
    SHORTEST_SPEECH_SECONDS,
    CutOptions,
    cut_recording,
    join_at_short_pauses,
    with_silence,
)
from sld_user_dir.longform.energy_detector import spans_of, speech_by_energy
from sld_user_dir.longform.frame_power import frame_power

RATE = 8000


def recording(parts, noise=0.0, seed=0, rate=RATE):
    """Tones of the given loudness, and pauses (loudness 0): (seconds, loudness) each; and where the tones are."""
    rng = np.random.default_rng(seed)
    pieces, tones, start = [], [], 0
    for seconds, loudness in parts:
        n = int(seconds * rate)
        pieces.append(loudness * np.sin(2 * np.pi * 300 * np.arange(n) / rate))
        if loudness:
            tones.append((start, start + n))
        start += n
    wave = np.concatenate(pieces) + noise * rng.standard_normal(start)
    return wave.astype(np.float32), tones


def covered(segments, n):
    mask = np.zeros(n, bool)
    for start, end in segments:
        mask[start:end] = True
    return mask


PARTS = st.lists(
    st.tuples(st.floats(0.06, 4.0), st.sampled_from([0.0, 0.05, 0.2, 0.8]), st.floats(0.05, 3.0)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(PARTS, st.floats(0.5, 5.0), st.floats(0.1, 1.5), st.sampled_from([0.0, 1e-4, 1e-3]))
def test_segments_hold_all_sound_and_are_short_enough(parts, maximum, min_pause, noise):
    flat = [p for s, loud, pause in parts for p in ((s, loud), (pause, 0.0))]
    wave, tones = recording(flat, noise)
    longest = int(maximum * RATE)
    segments = cut_recording(wave, RATE, longest, CutOptions(min_pause_seconds=min_pause))
    assert segments == cut_recording(wave.copy(), RATE, longest, CutOptions(min_pause_seconds=min_pause))
    assert all(0 < one.end - one.start <= longest for one in segments)
    assert all(a.end <= b.start for a, b in pairwise(segments))
    assert not segments or (segments[0].start >= 0 and segments[-1].end <= len(wave))
    mask = covered(segments, len(wave))
    sound = np.concatenate([np.full(int(s * RATE), bool(loud)) for s, loud in flat])
    loudest = max((loud for _, loud, _ in parts), default=0.0)
    for start, end in tones:
        around = sound[max(0, start - 10 * RATE) : end + 10 * RATE]
        stands_out = around.mean() < 0.8  # else the quietest tones may be the background
        if stands_out or np.abs(wave[start:end]).max() > 0.2 * loudest:
            assert mask[start:end].all()


def test_a_quarter_of_the_amplitude_is_speech_even_without_pauses():
    wave, tones = recording([(1.0, 0.05), (0.125, 0.0), (1.0, 0.2), (0.125, 0.0)])
    mask = covered(cut_recording(wave, RATE, RATE, CutOptions(min_pause_seconds=1.0)), len(wave))
    assert all(mask[start:end].all() for start, end in tones)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.6, 40.0), st.floats(0.5, 7.0), st.integers(0, 5))
def test_pieces_without_pauses_cover_everything(seconds, maximum, seed):
    """With `none` nothing is left out; no piece but a whole recording is shorter than a third of the maximum."""
    wave = np.random.default_rng(seed).standard_normal(int(seconds * RATE)).astype(np.float32)
    longest = int(maximum * RATE)
    pieces = cut_recording(wave, RATE, longest, CutOptions(pauses="none"))
    assert pieces[0].start == 0 and pieces[-1].end == len(wave)
    assert all(a.end == b.start for a, b in pairwise(pieces))
    lengths = [one.end - one.start for one in pieces]
    assert max(lengths) <= longest
    assert len(pieces) == 1 or min(lengths) >= longest / 3 - RATE // 100


def test_one_segment_a_sentence():
    wave, tones = recording([(0.7, 0), (1, 0.3), (0.2, 0), (0.5, 0.1), (0.8, 0), (2, 0.3), (1.5, 0)], noise=1e-3)
    first, second = cut_recording(wave, RATE, 10 * RATE, CutOptions())
    near = RATE // 50
    assert abs(first.start - (tones[0][0] - 0.1 * RATE)) <= near and abs(first.end - (tones[1][1] + 0.1 * RATE)) <= near
    assert (
        abs(second.start - (tones[2][0] - 0.1 * RATE)) <= near and abs(second.end - (tones[2][1] + 0.1 * RATE)) <= near
    )
    wider = cut_recording(wave, RATE, 10 * RATE, CutOptions(margin_seconds=0.3))
    assert [wider[0].end - first.end, second.start - wider[1].start] == [RATE // 5, RATE // 5]
    joined = cut_recording(wave, RATE, 10 * RATE, CutOptions(min_pause_seconds=1.0))
    assert len(joined) == 1


def test_long_speech_is_cut_where_it_is_quietest():
    wave, _ = recording([(3, 0.3), (0.2, 0.01), (4, 0.3), (0.25, 0), (2, 0.3)], noise=1e-4)
    pieces = cut_recording(wave, RATE, 5 * RATE, CutOptions())
    assert len(pieces) == 3
    assert 3.0 * RATE <= pieces[0].end <= 3.2 * RATE
    assert 7.2 * RATE <= pieces[1].end <= 7.45 * RATE


@pytest.mark.parametrize("background_db", [-60, -40, -25])
def test_pauses_are_found_under_noise(background_db):
    noise = 10 ** (background_db / 20)
    wave, tones = recording([(1.5, 0), *[(1.2, 0.5), (1.0, 0)] * 12], noise, seed=1)
    segments = cut_recording(wave, RATE, 10 * RATE, CutOptions())
    assert len(segments) == len(tones)


def test_the_background_may_change():
    """A fan goes on half way; quiet speech before it is still found, and so are the pauses behind it."""
    quiet, before = recording([(1.0, 0), *[(1.2, 0.02), (1.0, 0)] * 14], noise=2e-4)
    loud, behind = recording([(1.0, 0), *[(1.2, 0.5), (1.0, 0)] * 14], noise=0.02, seed=1)
    wave = np.concatenate([quiet, loud])
    segments = cut_recording(wave, RATE, 10 * RATE, CutOptions())
    mask = covered(segments, len(wave))
    shifted = [(a + len(quiet), b + len(quiet)) for a, b in behind]
    assert all(mask[a:b].all() for a, b in [*before, *shifted])
    assert len(segments) > 20


def test_where_nothing_stands_out_nothing_is_lost():
    noise = np.random.default_rng(0).standard_normal(20 * RATE).astype(np.float32) * 0.1
    segments = cut_recording(noise, RATE, 6 * RATE, CutOptions())
    assert covered(segments, len(noise)).all()
    assert cut_recording(np.zeros(5 * RATE, np.float32), RATE, RATE, CutOptions()) == []
    offset = np.full(5 * RATE, 0.3, np.float32)  # a constant is no sound
    assert cut_recording(offset, RATE, RATE, CutOptions()) == []
    assert cut_recording(np.zeros(0, np.float32), RATE, RATE, CutOptions()) == []


def test_a_click_is_no_segment():
    wave, _ = recording([(1, 0), (1, 0.3), (2, 0)], noise=1e-4)
    wave[int(2.9 * RATE)] = 0.9
    assert len(speech_by_energy(wave, RATE)) == 2 and SHORTEST_SPEECH_SECONDS == 0.05
    assert len(cut_recording(wave, RATE, 5 * RATE, CutOptions())) == 1


def test_spans_are_joined_and_widened():
    spans = np.array([[10, 20], [24, 30], [50, 60], [65, 70]])
    assert join_at_short_pauses(spans, 5).tolist() == [[10, 30], [50, 60], [65, 70]]
    assert join_at_short_pauses(spans, 100).tolist() == [[10, 70]]
    assert with_silence(spans, 3, 71).tolist() == [[7, 22], [22, 33], [47, 62], [63, 71]]
    empty = np.zeros((0, 2), np.int64)
    assert join_at_short_pauses(empty, 5).shape == with_silence(empty, 3, 10).shape == (0, 2)


def test_frames():
    wave = np.arange(8000 // 100 * 3 + 7, dtype=np.float32)
    frames = frame_power(wave, 8000)
    assert frames.hop == 80
    expected = [np.var(wave[s : s + 80].astype(np.float64)) for s in range(0, len(wave), 80)]
    np.testing.assert_allclose(frames.power, expected, rtol=1e-5)
    mean = frames.around_boundaries(2)
    np.testing.assert_allclose(mean[0], frames.power[:2].mean(), rtol=1e-9)
    np.testing.assert_allclose(mean[2], frames.power[:4].mean(), rtol=1e-9)
    np.testing.assert_allclose(mean[4], frames.power[2:].mean(), rtol=1e-9)
    assert spans_of(np.array([True, True, False, True]), 80, 247).tolist() == [[0, 160], [240, 247]]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"pauses": "magic"}, "--pauses magic: no such way to find them; choose energy, silero, none"),
        ({"min_pause_seconds": 0}, "--min-pause-seconds 0: a pause has some length"),
        ({"margin_seconds": -0.1}, r"--margin-seconds -0\.1: less than no silence"),
        *(({f"{name}_seconds": float("nan")}, "seconds nan") for name in ("min_pause", "margin", "max_segment")),
        ({"max_segment_seconds": 0.1}, r"--max-segment-seconds 0\.1: too short for a word; take 0\.5 or more"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        CutOptions(**options)


@pytest.fixture
def no_silero_yet():
    silero_detector._load.cache_clear()
    yield
    silero_detector._load.cache_clear()


def test_the_neural_detector_is_called_as_its_package_wants(monkeypatch, no_silero_yet):
    """By a stand-in with the names of silero-vad 6.2.3; the package itself was run by hand (docs/decoding.md)."""
    import torch

    module, seen = ModuleType("silero_vad"), []

    def get_speech_timestamps(audio, model, sampling_rate, speech_pad_ms):
        assert torch.is_tensor(audio) and audio.dtype == torch.float32 and model == "model" and speech_pad_ms == 0
        seen.append((len(audio), sampling_rate))
        return [{"start": sampling_rate, "end": 2 * sampling_rate}, {"start": 4 * sampling_rate, "end": len(audio)}]

    module.get_speech_timestamps, module.load_silero_vad = get_speech_timestamps, lambda: "model"
    monkeypatch.setitem(sys.modules, "silero_vad", module)
    for rate, heard in ((8000, 8000), (16000, 16000), (24000, 16000)):
        wave = np.zeros(5 * rate, np.float32)
        segments = cut_recording(wave, rate, 10 * rate, CutOptions(pauses="silero"))
        assert seen[-1] == (5 * heard, heard)
        assert segments == [(int(0.9 * rate), int(2.1 * rate)), (int(3.9 * rate), 5 * rate)]


def test_without_the_neural_detector_the_remedy_is_said(monkeypatch, no_silero_yet):
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    with pytest.raises(InputError, match=r"--pauses silero: silero_vad cannot be imported .*pip install 'sld-user-dir"):
        cut_recording(np.zeros(RATE, np.float32), RATE, RATE, CutOptions(pauses="silero"))
