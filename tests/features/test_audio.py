"""Reading, resampling, speed, and what is refused."""

import errno
import os

import numpy as np
import pytest
import soundfile
from support.unreadable_files import refuse_to_open

from sld_user_dir.features.resampling import perturb_speed, resample
from sld_user_dir.features.stacking import stack_frames, stacked_length
from sld_user_dir.features.waveform import AudioError, audio_blocks, load_audio, probe, read_audio, reject_reason


def tone(hz, rate, seconds=1.0):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def loudest_hz(wave, rate):
    return np.argmax(np.abs(np.fft.rfft(wave * np.hanning(len(wave))))) * rate / len(wave)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_reads_formats_and_rates(tmp_path, suffix, rate):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, tone(440, rate), rate)
    wave, found = read_audio(path)
    assert (wave.dtype, wave.shape, found) == (np.float32, (rate,), rate)
    assert probe(path).n_samples == rate
    resampled = load_audio(path, 16000)
    assert abs(len(resampled) - 16000) <= 1
    assert abs(loudest_hz(resampled, 16000) - 440) < 2


def test_channels_are_averaged(tmp_path):
    left, right = tone(300, 8000), tone(500, 8000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 8000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav")[0], (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_moves_tempo_and_pitch_together(speed):
    wave = perturb_speed(tone(400, 8000), 8000, speed)
    assert abs(len(wave) - 8000 / speed) <= 2
    assert abs(loudest_hz(wave, 8000) - 400 * speed) < 3


def test_speed_one_at_the_same_rate_is_the_identity():
    wave = tone(400, 8000)
    assert resample(wave, 8000, 8000) is wave
    with pytest.raises(ValueError, match="positive"):
        resample(wave, 8000, 8000, 0.0)


def test_refusals_name_file_and_reason(tmp_path):
    good = tmp_path / "good.flac"
    soundfile.write(good, tone(440, 8000), 8000)
    (tmp_path / "zero.wav").touch()
    (tmp_path / "text.wav").write_text("not audio at all")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "link.wav").symlink_to(tmp_path / "gone.wav")
    (tmp_path / "cut.flac").write_bytes(good.read_bytes()[:3000])
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 8000)
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan], np.float32), 8000, subtype="FLOAT")
    reasons = {
        "zero.wav": "zero bytes",
        "text.wav": "not readable",
        "folder.wav": "is a folder",
        "gone.wav": "No such file or directory; check the path",
        "link.wav": "No such file or directory: a link that leads nowhere; correct the link, or fetch the file",
        "none.wav": "no samples",
        "nan.wav": "NaN",
    }
    for name, reason in reasons.items():
        with pytest.raises(AudioError, match=reason) as error:
            read_audio(tmp_path / name)
        assert name in str(error.value)
        with pytest.raises(AudioError, match=reason) as streamed:
            list(audio_blocks(tmp_path / name, 8000))
        assert str(streamed.value) == str(error.value)
    with pytest.raises(AudioError, match=r"cut\.flac: (truncated|not readable)"):
        read_audio(tmp_path / "cut.flac")


@pytest.mark.parametrize(
    "number, remedy",
    [
        (errno.EACCES, "check its permissions and its folder's"),
        (errno.EIO, "check the disk that it is on"),
        (errno.ESTALE, "check the disk that it is on"),
    ],
)
def test_a_file_that_the_system_does_not_open_is_refused(number, remedy, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", tone(440, 8000), 8000)
    refuse_to_open(monkeypatch, tmp_path / "a.wav", number=number)
    for read in (probe, read_audio):
        with pytest.raises(AudioError, match=rf"a\.wav: {os.strerror(number)}; {remedy}$"):
            read(tmp_path / "a.wav")


def test_a_process_that_can_open_no_file_says_nothing_of_the_recording(tmp_path, monkeypatch):
    """Else a stage would leave out all that is left of a corpus."""
    soundfile.write(tmp_path / "a.wav", tone(440, 8000), 8000)
    refuse_to_open(monkeypatch, tmp_path / "a.wav", number=errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        read_audio(tmp_path / "a.wav")


def test_blocks_before_a_fault_are_given(tmp_path):
    stereo = np.stack([tone(300, 8000), tone(500, 8000)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 8000, subtype="FLOAT")
    mono = load_audio(tmp_path / "a.wav", 8000)
    stereo[5000] = np.nan
    soundfile.write(tmp_path / "a.wav", stereo, 8000, subtype="FLOAT")
    blocks, given = audio_blocks(tmp_path / "a.wav", 8000, 0.1), []
    with pytest.raises(AudioError, match=r"a\.wav: holds NaN"):
        for block in blocks:
            given.append(block)
    np.testing.assert_array_equal(np.concatenate(given), mono[:4800])


def test_limits_are_inclusive():
    assert reject_reason(1.0, 1.0, 1.0) is None
    assert "no samples" in reject_reason(0.0, 0.0, None)
    assert "too short: 0.500 s" in reject_reason(0.5, 1.0, None)
    assert "too long: 2.000 s" in reject_reason(2.0, 0.0, 1.0)


def test_stacking_repeats_the_last_frame():
    frames = np.arange(10, dtype=np.float32).reshape(5, 2)
    np.testing.assert_array_equal(stack_frames(frames, 2), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 8, 9]])
    assert stack_frames(frames, 1) is frames
    assert stack_frames(frames[:0], 3).shape == (0, 6)
    for n_frames in range(7):
        assert len(stack_frames(np.zeros((n_frames, 2), np.float32), 3)) == stacked_length(n_frames, 3)
    with pytest.raises(ValueError, match="1 or more"):
        stack_frames(frames, 0)
