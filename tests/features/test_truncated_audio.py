"""A recording that lacks its end is refused by name, in every container and by every reader; a stream is not."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
from support.audio_files import FORMATS, ID3, RATE_HZ, encoded, length_field, noisy_tone

from sld_user_dir.features.audio_container import CHECKED
from sld_user_dir.features.waveform import AudioError, audio_blocks, load_audio, probe, read_audio

LOST_BYTES = {"one byte": 1, "a tenth": 0.1, "nine tenths": 0.9}


@pytest.fixture(scope="module")
def files():
    wave = noisy_tone()
    return {kind: encoded(kind, wave) for kind in FORMATS}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_file_is_read_to_its_end(kind, files, tmp_path):
    path = tmp_path / "whole"
    path.write_bytes(files[kind])
    wave, rate_hz = read_audio(path)
    assert 2 * RATE_HZ <= len(wave) < 2.05 * RATE_HZ and rate_hz == RATE_HZ  # some codings fill their last block
    assert probe(path).n_samples == len(wave)
    assert len(load_audio(path, RATE_HZ, n_samples=len(wave))) == len(wave)


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 8000])
@pytest.mark.parametrize("kind", FORMATS)
def test_blocks_of_a_file_are_the_whole(kind, rate_hz, files, tmp_path):
    path = tmp_path / "whole"
    path.write_bytes(files[kind])
    blocks = list(audio_blocks(path, rate_hz, 0.1))
    rounding = 1e-6 if kind == "mp3" else 0  # its decoder's sums depend on how much is asked for
    np.testing.assert_allclose(np.concatenate(blocks), load_audio(path, rate_hz), rtol=0, atol=rounding)
    assert len(blocks) > 20 and max(map(len, blocks)) <= 0.25 * rate_hz


@pytest.mark.parametrize("lost", LOST_BYTES)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_lacks_its_end_is_refused(kind, lost, files, tmp_path):
    n_bytes = LOST_BYTES[lost] if LOST_BYTES[lost] >= 1 else int(LOST_BYTES[lost] * len(files[kind]))
    path = tmp_path / "cut"
    path.write_bytes(files[kind][:-n_bytes])
    with pytest.raises(AudioError, match=r"cut: (truncated|not readable as audio).*; copy it again"):
        read_audio(path)
    with pytest.raises(AudioError, match=r"cut: (truncated|not readable as audio).*; copy it again"):
        list(audio_blocks(path, RATE_HZ))
    if kind != "flac":  # whose end is known when it has been decoded
        with pytest.raises(AudioError, match=r"cut: (truncated|not readable as audio).*; copy it again"):
            probe(path)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])  # MPEG 2.5, 2 and 1
@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_an_mp3_of_any_bit_rate_is_measured_by_its_frames(mode, rate_hz, tmp_path):
    buffer = io.BytesIO()
    wave = noisy_tone(3, rate_hz)
    wave[rate_hz : 2 * rate_hz] = 0  # so that the bit rate varies
    coding = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": mode, "compression_level": 0.5}
    soundfile.write(buffer, wave, rate_hz, **coding)
    content, path = buffer.getvalue(), tmp_path / "a.mp3"
    for whole in (content, ID3 + content, content + b"TAG" + bytes(125)):
        path.write_bytes(whole)
        assert len(read_audio(path)[0]) == 3 * rate_hz
    for cut in (content[: len(content) // 2], ID3 + content[: len(content) // 2]):
        path.write_bytes(cut)
        with pytest.raises(AudioError, match="truncated"):
            read_audio(path)
    without_length = content[content.index(content[:2], 4) :]  # the frame that states it is gone
    path.write_bytes(without_length)
    try:
        assert len(read_audio(path)[0]) >= 3 * rate_hz
    except AudioError as error:  # libsndfile would have decoded a part of it
        assert mode != "CONSTANT" and "varying bit rate" in error.problem
    # within a frame: without a number of frames, a cut between two of them cannot be seen
    path.write_bytes(without_length[: len(without_length) // 2 + 50])
    with pytest.raises(AudioError):
        read_audio(path)


def test_an_ogg_cut_between_two_pages_is_refused(files, tmp_path):
    for kind in ("ogg vorbis", "ogg opus"):
        path = tmp_path / "a.ogg"
        path.write_bytes(files[kind][: files[kind].rindex(b"OggS")])
        with pytest.raises(AudioError, match="last page of Ogg is not marked as the last"):
            read_audio(path)


@pytest.mark.parametrize("kind", sorted(set(FORMATS) - {"ogg vorbis", "ogg opus", "htk"}))  # not read behind a tag
def test_a_tag_in_front_hides_nothing_from_the_check(kind, files, tmp_path):
    path, whole = tmp_path / "a", files[kind]
    path.write_bytes(whole)
    wave = read_audio(path)[0]
    path.write_bytes(ID3 + whole)
    np.testing.assert_array_equal(read_audio(path)[0], wave)
    assert probe(path).n_samples == len(wave)
    for lost in (1, 100, len(whole) // 2, len(whole) * 3 // 4):
        path.write_bytes(ID3 + whole[:-lost])
        with pytest.raises(AudioError, match=r"a: (truncated|not readable as audio).*; copy it again"):
            read_audio(path)


def test_a_remark_hides_no_length_of_a_sphere(files, tmp_path):
    header, samples = files["sph"][:1024], files["sph"][1024:]
    remarked = header.replace(b"-i 32000\n", b"-i 32000 ; counted twice\n")[:1024]
    (tmp_path / "a.sph").write_bytes(remarked + samples)
    assert len(read_audio(tmp_path / "a.sph")[0]) == 2 * RATE_HZ
    (tmp_path / "a.sph").write_bytes(remarked + samples[:-20_000])
    with pytest.raises(AudioError, match="truncated: its header tells of 64000 bytes of samples, 44000 are there"):
        read_audio(tmp_path / "a.sph")


STREAMED = {
    **{f"wav, {n:#x}": ("wav", b"data", 4, struct.pack("<I", n)) for n in (0, 0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFF000)},
    **{f"wav, {n:#x}": ("wav", b"data", 4, struct.pack("<I", n)) for n in (0x7FFFFFFF, 0x7FFFFFDB, 0x80000000)},
    **{f"aiff, {n:#x}": ("aiff", b"SSND", 4, struct.pack(">I", n)) for n in (0, 0xFFFFFFFF, 0x7F000008)},
    **{f"au, {n:#x}": ("au", b".snd", 8, struct.pack(">I", n)) for n in (0, 0xFFFFFFFF)},
    **{f"au little-endian, {n:#x}": ("au little-endian", b"dns.", 8, struct.pack("<I", n)) for n in (0, 0xFFFFFFFF)},
    **{f"rf64, {n:#x}": ("rf64", b"ds64", 16, struct.pack("<Q", n)) for n in (0, (1 << 64) - 1)},
    **{f"w64, {n:#x}": ("w64", b"data\xf3\xac", 16, struct.pack("<Q", n)) for n in (0, 24, (1 << 64) - 1)},
    "caf": ("caf", b"data", 4, b"\xff" * 8),
    "sph": ("sph", b"sample_count -i", 0, b"no_count_ -s5 "),
}
"""What programs write that do not know the length: file, chunk, offset in it, and what stands there."""


@pytest.mark.parametrize("tag", [b"", ID3], ids=["", "ID3"])
@pytest.mark.parametrize("stream", STREAMED)
def test_a_stream_of_unknown_length_ends_with_its_file(stream, tag, files, tmp_path):
    kind, chunk, offset, value = STREAMED[stream]
    content = bytearray(files[kind])
    at = content.index(chunk) + offset
    content[at : at + len(value)] = value
    path = tmp_path / "stream"
    for n_bytes in (len(content), len(content) - 2 * RATE_HZ):
        path.write_bytes(tag + content[:n_bytes])
        expected = 2 * RATE_HZ - (len(content) - n_bytes) // 2
        wave = read_audio(path)[0]
        assert probe(path).n_samples == len(wave) == expected
        np.testing.assert_array_equal(np.concatenate(list(audio_blocks(path, RATE_HZ))), wave)


@pytest.mark.parametrize("stopped", [False, True])
def test_memory_does_not_grow_with_a_recording(stopped, tmp_path):
    peaks = []
    for seconds in (4, 40):
        content = bytearray(encoded("wav", noisy_tone(seconds)))
        if stopped:  # its program never wrote the length
            struct.pack_into("<I", content, content.index(b"data") + 4, 0)
        (tmp_path / "a.wav").write_bytes(content)
        tracemalloc.start()
        assert sum(map(len, audio_blocks(tmp_path / "a.wav", 8000))) == seconds * 8000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 10_000 < len(content)


@pytest.mark.parametrize("kind", ["wav", "au", "aiff", "rf64", "w64"])
def test_a_header_that_promises_terabytes_is_refused_at_once(kind, files, tmp_path):
    chunk, offset, layout = length_field(kind)
    content = bytearray(files[kind])
    n_bytes = 10**12 if layout.endswith("Q") else 10**9
    struct.pack_into(layout, content, content.index(chunk) + offset, n_bytes)
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(AudioError, match="truncated: its header tells of"):
        read_audio(tmp_path / "a")


def test_a_wav_without_samples_has_none(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.float32), RATE_HZ)
    with pytest.raises(AudioError, match="no samples"):
        read_audio(tmp_path / "a.wav")
    with open(tmp_path / "a.wav", "ab") as file:
        file.write(b"LIST" + struct.pack("<I", 4) + b"INFO")
    with pytest.raises(AudioError, match="no samples"):
        read_audio(tmp_path / "a.wav")


def test_a_flac_stream_without_a_length_is_called_that(files, tmp_path):
    content = bytearray(files["flac"])
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(AudioError, match=r"FLAC stream without a length.*write it anew"):
        read_audio(tmp_path / "a.flac")


def test_a_container_whose_end_is_not_known_is_refused(tmp_path):
    for container in set(soundfile.available_formats()) - CHECKED - {"RAW", "SD2"}:
        path = tmp_path / container
        soundfile.write(path, noisy_tone(rate_hz=8000), 8000, format=container)
        with pytest.raises(AudioError, match=f"kind {container}, which does not tell.*convert it to FLAC"):
            read_audio(path)


@pytest.mark.parametrize("listed", [31_000, 33_000])
def test_a_recording_that_its_manifest_lists_otherwise_is_refused(listed, files, tmp_path):
    (tmp_path / "a.wav").write_bytes(files["wav"])
    with pytest.raises(AudioError, match=f"holds 32000 samples, but its manifest says {listed}.*sld audio"):
        load_audio(tmp_path / "a.wav", 8000, 0.9, n_samples=listed)


@pytest.mark.parametrize("read", [read_audio, probe])
def test_a_recording_of_another_rate_than_its_manifest_says_is_refused(read, files, tmp_path):
    (tmp_path / "a.wav").write_bytes(files["wav"])
    read(tmp_path / "a.wav", 32_000, stated_rate_hz=16_000)
    with pytest.raises(AudioError, match=r"a\.wav: has 16000 samples a second, but its manifest says 8000; restore it"):
        read(tmp_path / "a.wav", 32_000, stated_rate_hz=8000)
