"""A recording that is damaged in its middle, or goes on behind what its header tells of, is refused by name."""

import struct

import pytest
from support.audio_files import FORMATS, ID3, RATE_HZ, encoded, length_field, mp3_of_constant_bit_rate, noisy_tone

from sld_user_dir.features.waveform import AudioError, probe, read_audio

APE = b"APETAGEX" + struct.pack("<IIII", 2000, 132, 1, 0) + bytes(8)
TAGS_BEHIND = {"none": b"", "ID3v1": b"TAG" + bytes(125), "APEv2": APE + b"\xff\xfb" * 50 + APE, "ID3v2": ID3}


@pytest.fixture(scope="module")
def files():
    wave = noisy_tone()
    return {kind: encoded(kind, wave) for kind in FORMATS}


def test_an_mp3_whose_first_frame_is_damaged_is_refused(files, tmp_path):
    content = bytearray(files["mp3"])  # of varying bit rate
    content[10] ^= 1  # of the bytes that show that it has no sound
    (tmp_path / "a.mp3").write_bytes(content)
    with pytest.raises(AudioError, match=r"damaged: of its 32000 samples only \d+ can be decoded.*; copy it again"):
        read_audio(tmp_path / "a.mp3")


def test_an_ogg_of_which_a_part_is_damaged_is_refused(files, tmp_path):
    path, whole = tmp_path / "a.ogg", files["ogg vorbis"]
    pages = [at for at in range(len(whole)) if whole.startswith(b"OggS", at)]
    flipped, renamed = bytearray(whole), bytearray(whole)
    flipped[(pages[2] + pages[3]) // 2] ^= 1
    renamed[pages[2]] ^= 1
    for content, problem in (
        (flipped, rf"damaged: its page of Ogg at byte {pages[2]} does not match its checksum"),
        (renamed, rf"damaged: no page of Ogg at byte {pages[2]}"),
        (whole[: pages[2]] + whole[pages[3] :], rf"damaged: pages of Ogg are missing at byte {pages[2]}"),
        (whole[: pages[3]] + bytes(100_000) + whole[pages[3] :], rf"damaged: no page of Ogg at byte {pages[3]}"),
    ):
        path.write_bytes(content)
        for read in (probe, read_audio):
            with pytest.raises(AudioError, match=rf"{problem}; copy it again"):
                read(path)
    path.write_bytes(whole + b"TAG" + bytes(125))
    assert len(read_audio(path)[0]) == 2 * RATE_HZ


@pytest.mark.parametrize("kind", ["ogg vorbis", "ogg opus"])
def test_oggs_one_behind_the_other_are_refused(kind, files, tmp_path):
    (tmp_path / "a.ogg").write_bytes(files[kind] + encoded(kind, noisy_tone(1, seed=1)))
    with pytest.raises(AudioError, match=r"several Ogg files one behind the other.*; keep each of them in a file of"):
        read_audio(tmp_path / "a.ogg")


@pytest.mark.parametrize("tag", TAGS_BEHIND)
@pytest.mark.parametrize("rate_hz", [RATE_HZ, 44100])
def test_mp3s_one_behind_the_other_are_refused(rate_hz, tag, tmp_path):
    path, first = tmp_path / "a.mp3", mp3_of_constant_bit_rate() + TAGS_BEHIND[tag]
    path.write_bytes(first)
    assert len(read_audio(path)[0]) == 2 * RATE_HZ
    path.write_bytes(first + mp3_of_constant_bit_rate(1, rate_hz))
    with pytest.raises(AudioError, match=r"frames, of which only 58 can be read.*; keep each of them in a file of"):
        read_audio(path)


@pytest.mark.parametrize("stated", [False, True])
def test_an_mp3_without_a_part_of_its_middle_is_refused(stated, tmp_path):
    path, whole = tmp_path / "a.mp3", mp3_of_constant_bit_rate(4, stated=stated)
    middle = len(whole) // 2
    for content in (whole, whole + bytes(500)):
        path.write_bytes(content)
        assert len(read_audio(path)[0]) >= 4 * RATE_HZ
    for lost, in_its_place in ((100, 0), (700, 0), (1000, 1000), (100, 100_000)):
        path.write_bytes(whole[:middle] + bytes(in_its_place) + whole[middle + lost :])
        with pytest.raises(AudioError, match=r"damaged: \d+ bytes before byte \d+ are no frame of MP3; copy it again"):
            probe(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_recordings_one_behind_the_other_are_refused(kind, files, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(files[kind] + encoded(kind, noisy_tone(1, seed=1)))
    with pytest.raises(AudioError):
        read_audio(path)
    if kind.startswith(("au", "flac", "rf64", "w64", "caf", "sph")):
        with pytest.raises(
            AudioError, match=r"several \w+ files one behind the other.*; keep each of them in a file of"
        ):
            probe(path)


@pytest.mark.parametrize("kind", ["wav", "wav mu-law", "aiff", "au", "au little-endian", "w64", "caf", "8svx", "rf64"])
def test_samples_behind_the_stated_ones_are_noticed(kind, files, tmp_path):
    chunk, offset, layout = length_field(kind)
    content = bytearray(files[kind])
    struct.pack_into(layout, content, content.index(chunk) + offset, 8000)
    (tmp_path / "a").write_bytes(content)
    for read in (probe, read_audio):
        problem = r"its header tells of \d+ bytes of samples, but \d+ more bytes follow"
        with pytest.raises(AudioError, match=problem + "; copy it again from its source, or mend the length"):
            read(tmp_path / "a")


@pytest.mark.parametrize("kind", ["wav", "aiff", "au", "w64", "rf64", "caf", "flac", "sph"])
def test_tags_and_padding_behind_the_samples_are_no_damage(kind, files, tmp_path):
    whole = files[kind]
    for behind in (b"TAG" + bytes(125), b"TAG" + b"name" * 31, b"\0", b"few bytes", bytes(2000), ID3 + b"\xff" * 1000):
        (tmp_path / "a").write_bytes(whole + behind)
        assert len(read_audio(tmp_path / "a")[0]) >= 2 * RATE_HZ


def test_chunks_behind_the_samples_are_no_damage(tmp_path):
    notes = b"LIST" + struct.pack("<I", 1012) + b"INFOICMT" + struct.pack("<I", 1000) + b"notes" * 200
    for n_samples, padding in ((RATE_HZ, b""), (RATE_HZ + 1, b"\0"), (RATE_HZ + 1, b"")):  # some do not pad
        whole = encoded("wav mu-law", noisy_tone()[:n_samples])
        whole = whole[: whole.index(b"data") + 8 + n_samples] + padding
        for behind in (notes, notes + b"(c) " + struct.pack("<I", 600) + b"mine" * 150, notes[:-300]):
            (tmp_path / "a.wav").write_bytes(whole + behind)
            assert len(read_audio(tmp_path / "a.wav")[0]) == n_samples


def _wav_of_mp3(mp3):
    """As ffmpeg writes it, whose length libsndfile guesses from that of the file."""
    coding = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE_HZ, 4000, 1, 0, 12, 1, 2, 144, 1, 0)
    chunks = ((b"fmt ", coding), (b"fact", struct.pack("<I", 2 * RATE_HZ)), (b"data", mp3))
    content = b"WAVE" + b"".join(name + struct.pack("<I", len(part)) + part for name, part in chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


@pytest.mark.parametrize("stated", [False, True])
def test_an_mp3_in_a_wav_is_measured_by_its_frames(stated, tmp_path):
    path, mp3 = tmp_path / "a.wav", mp3_of_constant_bit_rate(stated=stated)
    path.write_bytes(_wav_of_mp3(mp3))
    assert probe(path).n_samples == len(read_audio(path)[0]) == (2 * RATE_HZ if stated else 58 * 576)
    for damaged in (_wav_of_mp3(mp3)[:-100], _wav_of_mp3(mp3[:-100]), _wav_of_mp3(mp3[:4000] + mp3[4700:])):
        path.write_bytes(damaged)
        with pytest.raises(AudioError, match=r"(truncated|damaged): .*; copy it again"):
            probe(path)


@pytest.mark.parametrize("seconds", [0.2, 2, 60])
@pytest.mark.parametrize("rate_hz", [RATE_HZ, 12345])
def test_a_flac_of_more_samples_than_its_header_tells_of_is_refused(rate_hz, seconds, tmp_path):
    content = bytearray(encoded("flac", noisy_tone(seconds, rate_hz), rate_hz))
    n_samples = int(seconds * rate_hz)
    for flipped in range(n_samples.bit_length()):
        stated = n_samples & ~(1 << flipped)
        if stated not in (0, n_samples):
            content[22:26] = struct.pack(">I", stated)  # the upper 4 bits of 36 are 0
            (tmp_path / "a.flac").write_bytes(content)
            with pytest.raises(AudioError, match=f"its header tells of {stated} samples, but there are more frames; "):
                read_audio(tmp_path / "a.flac")
    content[22:26] = struct.pack(">I", n_samples)
    for behind in (b"", b"TAG" + bytes(125)):
        (tmp_path / "a.flac").write_bytes(content + behind)
        assert len(read_audio(tmp_path / "a.flac")[0]) == n_samples
