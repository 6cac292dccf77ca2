"""Tokenizers with codes of their own: how they are found, what is checked of them, and their units in shards."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from sld_user_dir.clustering.kmeans_file import Centroids, KMeansError
from sld_user_dir.errors import InputError
from sld_user_dir.manifests.audio_manifest import Recording, write_audio_manifest
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.pipeline.executor import ExecutorConfig, run_job
from sld_user_dir.pipeline.stream import StreamConfig, stream_frames
from sld_user_dir.pipeline.table_jobs import ExtractJob
from sld_user_dir.pipeline.unit_makers import TokenizerUnits
from sld_user_dir.speech_tokenizers.speech_tokenizer import TokenizerError, check_tokenizer, provenance_of
from sld_user_dir.speech_tokenizers.tokenizer_fingerprint import fingerprint_of
from sld_user_dir.speech_tokenizers.tokenizer_lookup import is_of_a_kind, load_tokenizer, tokenizer_kinds

LOUDNESS = '''
import numpy as np
class Loudness:
    """One code each 10 ms: how loud, in `num_units` steps."""
    name, sample_rate_hz, frame_rate_hz = "loudness", 8000, 100.0
    def __init__(self, num_units):
        self.num_units, self.fingerprint = num_units, f"steps{num_units}"
    def n_codes(self, n_samples):
        return n_samples // 80
    def encode_batch(self, waves):
        frames = [wave[: len(wave) // 80 * 80].reshape(-1, 80) for wave in waves]
        steps = [(np.abs(f).mean(axis=1) * 4 * self.num_units).astype(int) for f in frames]
        return [np.minimum(of_one, self.num_units - 1) for of_one in steps]
def load(argument, device):
    return Loudness(int(argument or 8))
'''


class Stand:
    """A tokenizer whose every attribute a test may change."""

    name, fingerprint, sample_rate_hz, frame_rate_hz, num_units = "stand", "f0", 8000, 100.0, 4

    def __init__(self, **changes):
        self.__dict__.update(changes)

    def n_codes(self, n_samples):
        return n_samples // 80

    def encode_batch(self, waves):
        return [np.arange(self.n_codes(len(wave))) % 4 for wave in waves]


@pytest.fixture
def corpus(tmp_path):
    """An audio manifest of 11 recordings of noise, one broken, one without text."""
    rows = []
    for i in range(11):
        n = 1200 + 700 * (i * 7 % 11)
        soundfile.write(tmp_path / f"{i}.wav", 0.1 * np.random.default_rng(i).standard_normal(n), 8000)
        rows.append(Recording(str(i), tmp_path / f"{i}.wav", n, 8000, "" if i == 8 else f"text {i}", f"s{i % 2}"))
    (tmp_path / "5.wav").write_bytes(b"broken since")
    write_audio_manifest(tmp_path / "audio.tsv", rows, tmp_path)
    return tmp_path / "audio.tsv"


@pytest.fixture
def job(corpus, tmp_path, monkeypatch):
    (tmp_path / "loudness.py").write_text(LOUDNESS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "loudness", raising=False)

    def make(out, n_shards, tokenizer="loudness:load", **options):
        return ExtractJob(tmp_path / out, n_shards, corpus, tokenizer=tokenizer, device="cpu", **options)

    return make


@pytest.mark.parametrize("deduplicated", [False, True])
def test_any_number_of_shards_gives_the_same_bytes(job, deduplicated):
    outputs = set()
    for n in (1, 3, 12):  # 12: one is empty
        one = job(f"units{n}.tsv", n, deduplicated=deduplicated, header={"license": "none"})
        assert run_job(one, ExecutorConfig(shards=n))
        outputs.add(one.out.read_bytes() + one.out.with_suffix(".rejected.tsv").read_bytes())
    assert len(outputs) == 1
    manifest = read_manifest(one.out)
    assert [u.id for u in manifest] == ["0", "1", "2", "3", "4", "6", "7", "9", "10"]
    assert manifest.provenance.deduplicated is deduplicated and manifest.header["license"] == "none"
    totals = [len(u.units) if u.durations is None else u.durations.sum() for u in manifest]
    assert totals == [int(u.fields["n_samples"]) // 80 for u in manifest]


def test_the_shards_of_another_tokenizer_are_made_anew(job):
    first = job("units.tsv", 2)
    first.run_shard(0)
    assert first.pending() == [1]
    assert job("units.tsv", 2, "loudness:load:9").pending() == [0, 1]
    run_job(first, ExecutorConfig(shards=2))
    assert job("units.tsv", 5).pending() == []
    assert job("units.tsv", 5, "loudness:load:9").pending() == [0, 1, 2, 3, 4]
    assert job("units.tsv", 2, deduplicated=True).pending() == [0, 1]


def test_the_file_and_the_module_are_the_same_tokenizer(job, tmp_path):
    by_file = load_tokenizer(f"{tmp_path / 'loudness.py'}:load:6")
    assert by_file.num_units == 6
    assert provenance_of(by_file) == provenance_of(load_tokenizer("loudness:load:6"))
    assert provenance_of(by_file).fingerprint != provenance_of(load_tokenizer("loudness:load:7")).fingerprint
    assert not is_of_a_kind("loudness:load") and is_of_a_kind("codec:somewhere")


def test_a_job_is_of_a_kmeans_or_of_a_tokenizer(corpus, tmp_path):
    with pytest.raises(InputError, match="give either --kmeans or --tokenizer"):
        ExtractJob(tmp_path / "u.tsv", 1, corpus)
    with pytest.raises(InputError, match="give either --kmeans or --tokenizer"):
        ExtractJob(tmp_path / "u.tsv", 1, corpus, tmp_path / "k.npz", tokenizer="loudness:load")
    with pytest.raises(InputError, match="--features mfcc: a tokenizer needs no features"):
        ExtractJob(tmp_path / "u.tsv", 1, corpus, features="mfcc", tokenizer="loudness:load")


@pytest.mark.parametrize(
    "description, message",
    [
        ("magic", r"--tokenizer magic: no such kind of tokenizer; write KIND:ARGUMENT, .*kinds are codec, s3"),
        ("nowhere_at_all:load", r"no kind of tokenizer and no module is called nowhere_at_all; .*PYTHONPATH"),
        ("nowhere.py:load", r"--tokenizer nowhere\.py:load: nowhere\.py: no such file; check the path"),
        ("json:magic", r"json has no function magic"),
        ("codec:", r"no codec is named; write codec:DIRECTORY"),
    ],
)
def test_what_cannot_be_found_is_named(description, message):
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer(description)


def test_a_module_that_lacks_a_package_says_which(tmp_path):
    (tmp_path / "needs.py").write_text("import a_package_that_nobody_has\n")
    with pytest.raises(
        TokenizerError, match=r"cannot be imported \(No module named 'a_package_that_nobody_has'\); inst"
    ):
        load_tokenizer(f"{tmp_path / 'needs.py'}:load")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"fingerprint": ""}, "its fingerprint is '', not one word"),
        ({"name": "two words"}, "its name is 'two words', not one word"),
        ({"num_units": 0}, "its num_units is 0, no whole number above 0"),
        ({"num_units": 3.5}, r"its num_units is 3\.5"),
        ({"sample_rate_hz": 8000.5}, r"its sample_rate_hz is 8000\.5"),
        (
            {"sample_rate_hz": 16000},
            r"it states 100 codes a second, but its n_codes counts 200 at 16000 Hz; correct fr",
        ),
        ({"frame_rate_hz": float("nan")}, "it states nan codes a second"),
    ],
)
def test_what_a_tokenizer_says_of_itself_is_checked(changes, message):
    with pytest.raises(TokenizerError, match=message):
        check_tokenizer(Stand(**changes), "--tokenizer stand")
    assert check_tokenizer(Stand(), "--tokenizer stand").num_units == 4


def test_what_is_no_tokenizer_is_refused(tmp_path):
    (tmp_path / "nothing.py").write_text("def load(argument, device):\n    return [argument]\n")
    with pytest.raises(
        TokenizerError, match=r"list is no speech tokenizer: it has no name, fingerprint, .*add_a_token"
    ):
        load_tokenizer(f"{tmp_path / 'nothing.py'}:load")


@pytest.mark.parametrize(
    "encode_batch, message",
    [
        (
            lambda waves: [np.full(len(w) // 80, 4) for w in waves],
            r"a\.wav: stand gave code 4, outside its 0 … 3; corr",
        ),
        (lambda waves: [np.full(len(w) // 80, -1) for w in waves], r"a\.wav: stand gave code -1, outside its 0 … 3"),
        (
            lambda waves: [np.zeros(7, int) for _ in waves],
            r"a\.wav: stand gave 7 codes for 8000 samples .* says 100; cut",
        ),
        (lambda waves: [np.zeros(len(w) // 80) for w in waves], r"a\.wav: stand gave float64 of shape \(100,\)"),
        (lambda waves: [np.zeros((8, len(w) // 80), int) for w in waves], r"shape \(8, 100\), .*one stream of a codec"),
        (lambda waves: [], r"stand: its encode_batch gave codes of 0 waveforms for 1; return one array for each"),
    ],
)
def test_codes_are_checked_and_the_recording_named(encode_batch, message, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    maker = TokenizerUnits(Stand(encode_batch=encode_batch))
    with pytest.raises(TokenizerError, match=message):
        list(maker.stream([Recording("a", tmp_path / "a.wav")], StreamConfig(), []))


def test_recordings_of_like_length_go_together_and_come_back_in_order():
    seen = []

    def encode_batch(waves):
        seen.append([len(wave) for wave in waves])
        return [np.full(len(wave) // 80, len(wave) % 4) for wave in waves]

    encoder = TokenizerUnits(Stand(encode_batch=encode_batch), batch_seconds=1).encoder
    lengths = [801, 4002, 1603, 8000, 4001]
    codes = encoder.encode_batch([np.zeros(n, np.float32) for n in lengths])
    assert [len(c) for c in codes] == [n // 80 for n in lengths]
    assert [int(c[0]) for c in codes] == [n % 4 for n in lengths]
    assert seen == [[8000], [4002], [4001], [1603, 801]]


def test_codes_have_no_centroids():
    centroids = Centroids(np.zeros((4, 2), np.float32), "k.npz")
    with pytest.raises(
        KMeansError, match=r"u\.tsv: its units are the own codes of stand@f0:8000Hz, which have no cent"
    ):
        centroids.check(provenance_of(Stand()), "u.tsv")
    assert "K=4, a tokenizer's own codes" in provenance_of(Stand()).describe()


def test_a_fingerprint_follows_content_alone(tmp_path):
    torch = pytest.importorskip("torch")
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"weights")
    layer = torch.nn.Linear(2, 3)
    parts = [tmp_path / "a", np.arange(3), layer, {"rate": 8000}]
    first = fingerprint_of(*parts)
    assert first == fingerprint_of(tmp_path / "b", *parts[1:]) and len(first) == 12
    changed = torch.nn.Linear(2, 3)
    (tmp_path / "b").write_bytes(b"weightz")
    others = [
        fingerprint_of(tmp_path / "b", *parts[1:]),
        fingerprint_of(parts[0], np.arange(3.0), *parts[2:]),
        fingerprint_of(*parts[:2], changed, parts[3]),
        fingerprint_of(*parts[:3], {"rate": 16000}),
    ]
    assert len({first, *others}) == 5
    with pytest.raises(TypeError):
        fingerprint_of(object())


def test_a_kind_is_found_by_itself(tmp_path, monkeypatch):
    from sld_user_dir.speech_tokenizers import kinds, tokenizer_lookup

    known = tokenizer_kinds()
    source = LOUDNESS + (
        "from sld_user_dir.speech_tokenizers.tokenizer_lookup import register_tokenizer\n"
        'register_tokenizer("loudness-kind")(load)\n'
    )
    (tmp_path / "loudness_kind.py").write_text(source)
    monkeypatch.setattr(kinds, "__path__", [*kinds.__path__, str(tmp_path)])
    monkeypatch.setattr(tokenizer_lookup, "_KINDS", dict(known))
    assert load_tokenizer("loudness-kind:12").num_units == 12
    sys.modules.pop("sld_user_dir.speech_tokenizers.kinds.loudness_kind")
    vars(kinds).pop("loudness_kind", None)


# -- codecs of transformers ----------------------------------------------------------------------
def small_codec(kind):
    """A random codec of transformers, as small as its code allows."""
    import torch
    import transformers as tf

    torch.manual_seed(3)
    if kind == "mimi":
        heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "num_hidden_layers": 1}
        sizes = {"hidden_size": 16, "num_filters": 4, "intermediate_size": 16, "upsample_groups": 16}
        codes = {"codebook_size": 32, "codebook_dim": 8, "vector_quantization_hidden_dimension": 8, "num_quantizers": 4}
        return tf.MimiModel(tf.MimiConfig(**heads, **sizes, **codes)).eval(), 24000, 1920
    if kind == "encodec":
        sizes = {"num_filters": 4, "hidden_size": 16, "codebook_size": 32, "codebook_dim": 16, "num_lstm_layers": 1}
        return tf.EncodecModel(tf.EncodecConfig(**sizes)).eval(), 24000, 320
    sizes = {"encoder_hidden_size": 8, "downsampling_ratios": [2, 4, 5, 8], "decoder_hidden_size": 32}
    codes = {"n_codebooks": 3, "codebook_size": 32, "codebook_dim": 4, "sampling_rate": 16000}
    return tf.DacModel(tf.DacConfig(**sizes, **codes, upsampling_ratios=[8, 5, 4, 2])).eval(), 16000, 320


@pytest.mark.parametrize("kind", ["mimi", "encodec", "dac"])
def test_the_first_stream_of_a_codec(kind, tmp_path):
    """Equal to the model's own codes of a recording of whole frames; one code for each frame that has begun."""
    import torch

    model, rate, hop = small_codec(kind)
    model.save_pretrained(tmp_path / kind)
    tokenizer = load_tokenizer(f"codec:{tmp_path / kind}", "cpu")
    assert (tokenizer.sample_rate_hz, tokenizer.frame_rate_hz, tokenizer.num_units) == (rate, rate / hop, 32)
    wave = np.random.default_rng(0).standard_normal(20 * hop).astype(np.float32) * 0.1
    with torch.inference_mode():
        codes = model.encode(torch.from_numpy(wave)[None, None]).audio_codes  # all streams
    own = (codes[0] if kind == "encodec" else codes)[0, 0]
    whole, cut = tokenizer.encode_batch([wave, wave[: 3 * hop + 1]])
    assert whole.tolist() == own.tolist() and len(cut) == tokenizer.n_codes(3 * hop + 1) == 4
    maker = TokenizerUnits(tokenizer)
    soundfile.write(tmp_path / "a.wav", wave[: 8 * hop + 17], rate)
    (made,) = maker.stream([Recording("a", tmp_path / "a.wav")], StreamConfig(), [])
    assert len(made.units) == 9
    changed, _, _ = small_codec(kind)
    for parameter in changed.encoder.parameters():
        parameter.data += 0.01
    changed.save_pretrained(tmp_path / "changed")
    other = load_tokenizer(f"codec:{tmp_path / 'changed'}", "cpu")
    assert other.fingerprint != tokenizer.fingerprint


def test_codecs_that_cannot_be_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        TokenizerError, match=r"codec:.*empty: transformers cannot load it .*give a directory with conf"
    ):
        load_tokenizer(f"codec:{tmp_path / 'empty'}")
    import transformers as tf

    tf.BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(TokenizerError, match="bert is no codec known here; take mimi, encodec, dac"):
        load_tokenizer(f"codec:{tmp_path / 'bert'}")
    config = tmp_path / "bert" / "config.json"
    config.write_text(config.read_text(encoding="utf-8"), encoding="utf-8-sig")
    with pytest.raises(TokenizerError, match=r"config\.json:1: begins with a byte order mark, which transformers does"):
        load_tokenizer(f"codec:{tmp_path / 'bert'}")
    tf.EncodecConfig(audio_channels=2).save_pretrained(tmp_path / "stereo")
    model = tf.EncodecModel(tf.EncodecConfig(audio_channels=2, num_filters=4, hidden_size=16, codebook_dim=16))
    model.save_pretrained(tmp_path / "stereo")
    with pytest.raises(TokenizerError, match="it codes stereo, or audio of normalised loudness; take a mono codec"):
        load_tokenizer(f"codec:{tmp_path / 'stereo'}")


# -- the package s3tokenizer, by a stand-in --------------------------------------------------------
def stand_in_for_s3tokenizer(monkeypatch):
    """What is used of s3tokenizer 0.3.0: spectrograms of 10 ms, padding, and a model of two strided convolutions."""
    import torch

    module = ModuleType("s3tokenizer")
    module.batches = []

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Module()
            self.encoder.conv1 = torch.nn.Conv1d(4, 4, 3, stride=2, padding=1)
            self.encoder.conv2 = torch.nn.Conv1d(4, 4, 3, stride=2, padding=1)
            self.config = type("Config", (), {"n_mels": 4, "n_codebook_size": 6561})()

        def quantize(self, mels, lengths):
            """A code tells the loudest of its frames, which holds its number; padding gives codes, too."""
            module.batches.append(lengths.tolist())
            padded = torch.nn.functional.pad(mels[:, 0], (0, -mels.shape[-1] % 4))
            return padded.unflatten(-1, (-1, 4)).amax(-1).long(), -(-lengths // 4)

    def log_mel_spectrogram(audio, n_mels):
        frames = audio[: len(audio) // 160 * 160].unflatten(0, (-1, 160)) if len(audio) >= 160 else audio[:0, None]
        return frames.amax(-1).expand(n_mels, -1)

    def padding(mels):
        lengths = torch.tensor([mel.shape[1] for mel in mels])
        rows = [torch.nn.functional.pad(mel, (0, int(lengths.max()) - mel.shape[1])) for mel in mels]
        return torch.stack(rows), lengths

    def load_model(name):
        if not name.endswith("v2_25hz.onnx"):
            raise RuntimeError(f"Model {name} not found")
        torch.manual_seed(0)
        return Model()

    module.log_mel_spectrogram, module.padding, module.load_model = log_mel_spectrogram, padding, load_model
    monkeypatch.setitem(sys.modules, "s3tokenizer", module)
    return module


def test_s3_codes_of_short_and_long_recordings(monkeypatch):
    """Each frame holds its own number, so that codes tell which frames they were made of."""
    module = stand_in_for_s3tokenizer(monkeypatch)
    tokenizer = load_tokenizer("s3:/models/speech_tokenizer_v2_25hz.onnx", "cpu")
    assert (tokenizer.name, tokenizer.num_units, tokenizer.frame_rate_hz) == ("speech_tokenizer_v2_25hz", 6561, 25)
    frames = [1, 7, 100, 3000, 3001, 5300, 6000]
    waves = [np.repeat(np.arange(n, dtype=np.float32), 160)[: n * 160] for n in frames]
    codes = tokenizer.encode_batch(waves)
    for n, wave, of_one in zip(frames, waves, codes):
        assert len(of_one) == tokenizer.n_codes(len(wave))
        assert of_one.tolist() == [min(4 * k + 3, n - 1) for k in range(len(of_one))]
    assert max(max(batch) for batch in module.batches) <= 3000 and max(map(len, module.batches)) <= 8
    assert tokenizer.n_codes(159) == 0


def test_s3_files_that_cannot_be_loaded(monkeypatch):
    stand_in_for_s3tokenizer(monkeypatch)
    with pytest.raises(TokenizerError, match=r"s3:none\.onnx: s3tokenizer cannot load it .*must hold v1, v2 or v3"):
        load_tokenizer("s3:none.onnx", "cpu")
    with pytest.raises(TokenizerError, match="the package knows this model by its name only; write s3:speech_token"):
        load_tokenizer("s3:/models/speech_tokenizer_v1_25hz.onnx", "cpu")
    monkeypatch.setitem(sys.modules, "s3tokenizer", None)
    with pytest.raises(TokenizerError, match=r"s3tokenizer cannot be imported .*pip install s3tokenizer"):
        load_tokenizer("s3:none.onnx", "cpu")


def test_a_recording_to_be_warped_is_refused_before_it_is_read():
    warped = Recording("a", Path("missing.wav"), warp=1.1)
    with pytest.raises(TokenizerError, match=r"stand: cannot warp .* \(by 1\.1\); list the recordings without --warps"):
        list(stream_frames([warped], TokenizerUnits(Stand()).encoder, StreamConfig()))
