"""Segments of a stream of audio, its units while they come, and samples from a pipe."""

import io
import time
from types import SimpleNamespace

import numpy as np
import pytest

from sld_user_dir.errors import InputError
from sld_user_dir.features.resampling import resample
from sld_user_dir.streaming.heard_audio import HeardAudio, ListenOptions
from sld_user_dir.streaming.pcm_input import paced, pcm_blocks
from sld_user_dir.streaming.whole_recording import what_needs_the_whole

RATE = 8000


def units_of(wave):
    """A unit for each tenth of a second: its number."""
    n = len(wave) // (RATE // 10)
    return SimpleNamespace(units=list(range(n)), edges=np.arange(n + 1) / 10)


def heard(options, max_seconds=100.0):
    return HeardAudio(units_of, RATE, int(max_seconds * RATE), options)


def noise(seconds, level=0.2):
    return (level * np.random.default_rng(0).standard_normal(int(seconds * RATE))).astype(np.float32)


def test_the_newest_units_wait():
    audio = heard(ListenOptions(right_context_seconds=0.25))
    audio.add(noise(1.0))
    assert audio.units_so_far() == list(range(7)) and audio.whole_units(RATE) == list(range(10))


def test_a_pause_ends_a_segment():
    audio = heard(ListenOptions(end_pause_seconds=0.5))
    audio.add(np.concatenate([noise(1.0), noise(0.4, 1e-4)]))
    assert audio.segment_end() is None
    audio.add(noise(0.2, 1e-4))
    found = audio.segment_end()
    assert found.end / RATE == pytest.approx(1.25, abs=0.03) and found.end <= found.next_start
    audio.begin_next(found.next_start)
    assert audio.start == found.next_start and audio.heard == int(1.6 * RATE) and audio.segment_end() is None


def test_where_nobody_speaks_there_is_no_segment():
    audio = heard(ListenOptions(end_pause_seconds=0.5))
    audio.add(np.zeros(4 * RATE, np.float32))
    found = audio.segment_end()
    assert found.end == 0 and found.next_start > 3 * RATE


def test_what_the_model_does_not_hold_is_cut_at_a_quiet_point():
    audio = heard(ListenOptions(end_pause_seconds=0), max_seconds=2.0)
    audio.add(np.concatenate([noise(1.3), noise(0.1, 1e-3), noise(1.0)]))
    found = audio.segment_end()
    assert found.end == found.next_start and 1.25 <= found.end / RATE <= 1.45


@pytest.mark.parametrize("name", ["chunk_seconds", "right_context_seconds", "end_pause_seconds"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_options_out_of_range(name, value):
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')}"):
        ListenOptions(**{name: value})


class Pipe(io.BytesIO):
    """Gives an odd number of bytes at a time."""

    def read1(self, size=-1):
        return self.read(min(size, 331))


def test_samples_of_a_pipe():
    samples = (noise(0.5) * 32767).astype("<i2")
    wave = samples.astype(np.float32) / 32768
    same = np.concatenate(list(pcm_blocks(Pipe(samples.tobytes()), RATE, RATE)))
    np.testing.assert_array_equal(same, wave)
    other = np.concatenate(list(pcm_blocks(Pipe(samples.tobytes()), RATE, 16000)))
    whole = resample(wave, RATE, 16000)
    assert len(other) == len(whole)
    np.testing.assert_allclose(other, whole, atol=1e-3)
    with pytest.raises(InputError, match="half a sample"):
        list(pcm_blocks(Pipe(samples.tobytes()[:-1]), RATE, RATE))
    with pytest.raises(InputError, match="--rate 0"):
        list(pcm_blocks(Pipe(), 0, RATE))


def test_a_recording_played_as_if_live():
    blocks, begun = [noise(0.05), noise(0.1), noise(0.05)], time.monotonic()
    came = []
    for block, given in zip(paced(iter(blocks), RATE, pace=2), blocks):
        assert block is given
        came.append(time.monotonic() - begun)
    assert all(came >= np.cumsum([len(one) for one in blocks]) / RATE / 2)
    assert list(paced(iter(blocks), RATE, pace=0)) == blocks


def test_encoders_that_see_the_whole_recording_are_known():
    names = {
        "mfcc-39:8000Hz:mel23": 0,
        "mfcc-39:8000Hz:mel23+cmvn-speaker+stack4": 1,
        "hubert@0123456789ab:16000Hz:wavenorm:chunk30+2s": 2,
        "whisper@3cc23ab98ca7:16000Hz:chunk26+2s": 2,
    }
    assert {name: len(what_needs_the_whole(name)) for name in names} == names
