"""textless-lib as a companion: encoder contract, k-means export, vocoder hand-over.

textless-lib is not on PyPI and wants torchaudio, so most of these tests run against stand-ins, each of
which says what it stands in for. The last section runs against the library itself where it can be imported.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.commands import sld

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.features.torch_module import DenseFrontEnd
from sld_user_dir.interop.records import InteropError
from sld_user_dir.interop.sklearn_kmeans import export_sklearn, import_sklearn
from sld_user_dir.interop.textless import EncoderSpec, encode, encoder_provenance, register_quantizer
from sld_user_dir.interop.vocoders import vocoder_input
from sld_user_dir.manifests.audio_manifest import Recording, write_audio_manifest
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_manifest import read_manifest

soundfile = pytest.importorskip("soundfile")
joblib = pytest.importorskip("joblib")
pytest.importorskip("sklearn")

K, DIM, HOP = 12, 5, 160


class StandInQuantizer(torch.nn.Module):
    """Stands in for textless.data.kmeans_quantizer.KMeansQuantizer: joblib only, predict, n_clusters."""

    def __init__(self, path):
        super().__init__()
        self.kmeans_model = joblib.load(path)
        assert hasattr(self.kmeans_model, "_n_threads")
        self.kmeans_model.verbose = False

    @property
    def vocab_size(self) -> int:
        return self.kmeans_model.n_clusters

    def forward(self, x):
        return torch.from_numpy(self.kmeans_model.predict(x.cpu().numpy()))


class StandInDense(torch.nn.Module):
    """Stands in for a dense model such as HubertFeatureReader: (n,) at 16 kHz → (T, D), without weights."""

    code_hop_size, expected_sample_rate = HOP, 16_000

    def __init__(self, checkpoint_path=None, layer=0):
        super().__init__()

    def forward(self, wave):
        frames = wave.unfold(0, 2 * HOP, HOP) if len(wave) >= 2 * HOP else wave.new_zeros(0, 2 * HOP)
        return torch.fft.rfft(frames).abs()[:, 1 : DIM + 1].float()  # (T, D)


class StandInEncoder(torch.nn.Module):
    """Stands in for textless.data.speech_encoder.SpeechEncoder: its attributes, and the dictionary it returns."""

    def __init__(self, quantizer_path, deduplicate=False, add_bos_eos=False):
        super().__init__()
        self.dense_model, self.quantizer_model = StandInDense(), StandInQuantizer(quantizer_path)
        self.deduplicate, self.add_bos_eos = deduplicate, add_bos_eos
        self.vocab_size = self.quantizer_model.vocab_size
        self.code_hop_size, self.expected_sample_rate = HOP, 16_000
        self.device = torch.device("cpu")

    def forward(self, waveform, speaker=None):
        dense = self.dense_model(waveform)
        units = self.quantizer_model(dense) if len(dense) else torch.zeros(0, dtype=torch.int32)
        durations = torch.ones_like(units)
        if self.deduplicate:
            units, durations = torch.unique_consecutive(units, return_counts=True)
        if self.add_bos_eos:
            ends = [torch.tensor([self.vocab_size]), torch.tensor([self.vocab_size + 1])]
            units = torch.cat([ends[0], units, ends[1]])
            durations = torch.cat([torch.zeros(1).long(), durations, torch.zeros(1).long()])
            dense = torch.cat([dense[:1] * 0, dense, dense[:1] * 0])
        return {"units": units.int(), "durations": durations.long(), "dense": dense}


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    random = np.random.default_rng(0)
    tone = np.sin(np.arange(8000) * np.repeat(random.uniform(0.02, 0.3, 20), 400))
    return tone.astype(np.float32)


@pytest.fixture(scope="module")
def kmeans(wave) -> KMeans:
    frames = StandInDense()(torch.from_numpy(wave)).numpy()
    return KMeans(frames[:: len(frames) // K][:K])


@pytest.fixture(scope="module")
def exported(kmeans, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("km") / "stand-in-kmeans-12.bin"
    export_sklearn(kmeans, path)
    return path


# -- our k-means in theirs ---------------------------------------------------------------
def test_the_exported_kmeans_gives_the_same_units(kmeans, exported):
    frames = np.random.default_rng(1).normal(kmeans.centroids.mean(0), kmeans.centroids.std(), (5000, DIM))
    frames = frames.astype(np.float32)
    theirs = StandInQuantizer(exported)(torch.from_numpy(frames)).numpy()
    assert len(set(theirs.tolist())) > K // 2
    np.testing.assert_array_equal(theirs, kmeans.assign(frames))


def test_the_exported_object_has_what_the_quantizer_reads(exported):
    model = joblib.load(exported)
    assert type(model).__module__.startswith("sklearn.")
    assert model.cluster_centers_.dtype == np.float32 and model.n_clusters == K
    assert model.n_features_in_ == DIM and model._n_threads >= 1 and model.verbose is False


def test_a_pickle_is_loaded_only_when_trusted(kmeans, exported, tmp_path):
    with pytest.raises(InteropError, match="runs code when it is loaded; state --trust-pickle"):
        import_sklearn(exported)
    assert import_sklearn(exported, trust_pickle=True).sha256 == kmeans.sha256
    (tmp_path / "x.bin").write_bytes(b"no pickle")
    with pytest.raises(InteropError, match=r"x\.bin: no k-means of scikit-learn"):
        import_sklearn(tmp_path / "x.bin", trust_pickle=True)
    with pytest.raises(InteropError, match=r"y\.bin: no such file"):
        import_sklearn(tmp_path / "y.bin", trust_pickle=True)


def test_export_and_import_by_the_command(kmeans, tmp_path, capsys):
    kmeans.save(tmp_path / "km.npz")
    assert sld("export-kmeans", "--kmeans", tmp_path / "km.npz", "--out", tmp_path / "km.bin") == 0
    assert "5000 of 5000 frames get the same unit" in capsys.readouterr().out
    back = ["--import-sklearn", tmp_path / "km.bin", "--out", tmp_path / "back.npz", "--features", "some/model"]
    assert sld("export-kmeans", *back, "--layer", 9) == 1
    assert "--trust-pickle" in capsys.readouterr().err
    assert sld("export-kmeans", *back, "--layer", 9, "--trust-pickle") == 0
    loaded = KMeans.load(tmp_path / "back.npz")
    assert loaded.sha256 == kmeans.sha256 and loaded.metadata["features"]["layer"] == 9
    assert sld("export-kmeans", "--out", tmp_path / "z") == 1
    assert "either --kmeans" in capsys.readouterr().err


# -- their encoder as our source -----------------------------------------------------------
@pytest.mark.parametrize("deduplicate", [False, True])
def test_units_of_an_encoder(exported, kmeans, wave, deduplicate):
    made = encode(StandInEncoder(exported, deduplicate), wave)
    frames = kmeans.assign(StandInDense()(torch.from_numpy(wave)).numpy())
    assert made.units.dtype == np.int32 and made.durations.dtype == np.int64
    np.testing.assert_array_equal(np.repeat(made.units, made.durations), frames)
    assert deduplicate == (len(made.units) < len(frames))


class Broken(StandInEncoder):
    """An encoder whose answer is changed before it is returned."""

    def __init__(self, path, change):
        super().__init__(path)
        self.change = change

    def forward(self, waveform, speaker=None):
        return self.change(super().forward(waveform))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda out: {**out, "units": out["units"] + K}, r"outside 0 … 11: bos, eos or padding\?"),
        (lambda out: {**out, "durations": out["durations"] * 2}, r"add up to \d+ frames, `dense` has"),
        (lambda out: {**out, "durations": out["durations"][1:]}, r"gave \d+ units and \d+ durations"),
        (lambda out: {**out, "units": out["units"].float()}, "units of type torch.float32"),
        (lambda out: {**out, "units": out["units"][None]}, "wanted whole numbers"),
        (lambda out: {"dense": out["dense"]}, "gave no 'units', only"),
    ],
)
def test_an_encoder_that_breaks_its_promise(exported, wave, change, message):
    with pytest.raises(InteropError, match=message):
        encode(Broken(exported, change), wave)


def test_an_encoder_with_bos_and_eos_is_refused(exported, wave):
    with pytest.raises(InteropError, match="add_bos_eos=False"):
        encode(StandInEncoder(exported, add_bos_eos=True), wave)


def test_provenance_of_an_encoder(exported, kmeans):
    made_by = encoder_provenance(StandInEncoder(exported, True), "textless:hubert", 6)
    assert made_by == UnitProvenance("textless:hubert", 6, 100.0, kmeans.sha256, K, True)
    encoder = StandInEncoder(exported)
    del encoder.quantizer_model
    assert encoder_provenance(encoder, "x").kmeans == "unknown"


@pytest.fixture
def corpus(tmp_path, wave, exported, monkeypatch) -> Path:
    """Five recordings, and a module `stand_in_factory` that makes the encoder."""
    recordings = []
    for i in range(5):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, wave[: 0 if i == 3 else 1600 * (i + 1)], 16_000)
        recordings.append(Recording(f"u{i}", path, 1600 * (i + 1), 16_000, "" if i == 4 else "six", "george"))
    write_audio_manifest(tmp_path / "a.tsv", recordings, tmp_path)
    module = type(sys)("stand_in_factory")
    module.raw = lambda: StandInEncoder(exported)
    module.collapsed = lambda: StandInEncoder(exported, True)
    monkeypatch.setitem(sys.modules, "stand_in_factory", module)
    return tmp_path


@pytest.mark.parametrize("shards", [1, 3])
def test_audio_to_units_in_shards(corpus, kmeans, wave, shards, capsys):
    out = corpus / "units.tsv"
    options = ["--factory", "stand_in_factory:collapsed", "--dense-model", "stand-in", "--num-units", K]
    options += [
        "--deduplicate",
        "--shards",
        shards,
        "--audio",
        corpus / "a.tsv",
        "--out",
        out,
        "--header",
        "license=CC0",
    ]
    assert sld("textless", *options) == 0
    manifest = read_manifest(out)
    assert manifest.column("id") == ["u0", "u1", "u2"] and manifest.column("speaker") == ["george"] * 3
    assert manifest.provenance == UnitProvenance("stand-in", None, 100.0, kmeans.sha256, K, True)
    assert manifest.header["license"] == "CC0"
    for i, row in enumerate(manifest):
        written, _ = soundfile.read(corpus / f"{i}.wav", dtype="float32")
        frames = kmeans.assign(StandInDense()(torch.from_numpy(written)).numpy())
        np.testing.assert_array_equal(np.repeat(row.units, row.durations), frames)
    rejected = (corpus / "units.rejected.tsv").read_text()
    assert "u3\t" in rejected and "no transcript" in rejected and rejected.count("\n") == 3


@pytest.mark.parametrize(
    "options, message",
    [
        (
            ["--factory", "stand_in_factory:raw", "--num-units", K + 1],
            f"the quantizer has {K} units, --num-units is {K + 1}",
        ),
        (["--factory", "stand_in_factory:raw", "--num-units", K, "--deduplicate"], "encoder has deduplicate=False"),
        (["--factory", "stand_in_factory:gone", "--num-units", K], "name it as module:function"),
        (["--factory", "nowhere:raw", "--num-units", K], "No module named 'nowhere'; name it as module:function"),
    ],
)
def test_an_encoder_other_than_asked_for_is_refused(corpus, capsys, options, message):
    assert sld("textless", *options, "--audio", corpus / "a.tsv", "--out", corpus / "units.tsv") == 1
    assert message in capsys.readouterr().err
    assert not (corpus / "units.tsv").exists()


def test_without_the_library_the_message_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "textless.data.speech_encoder", None)
    with pytest.raises(InteropError, match=r"textless-lib is not on PyPI; docs/interop\.md says how to install it"):
        EncoderSpec().build()


def test_a_quantizer_of_another_k_is_not_registered(exported, tmp_path, monkeypatch):
    """The manager stands in for textless.checkpoint_manager."""
    registered = []
    manager = SimpleNamespace(storage={}, add_checkpoint=registered.append)
    module = SimpleNamespace(CHECKPOINT_MANAGER=manager, Checkpoint=lambda *fields: fields)
    monkeypatch.setitem(sys.modules, "textless.checkpoint_manager", module)
    with pytest.raises(InteropError, match=rf"a quantizer of K={K}, asked for is K={K + 1}; correct --num-units") as it:
        register_quantizer(exported, "stand-in", K + 1)
    assert str(exported) in str(it.value) and not registered
    assert register_quantizer(exported, "stand-in", K) == f"stand-in-kmeans-{K}"
    assert registered == [(f"stand-in-kmeans-{K}", "", str(exported.resolve()), "")]
    (tmp_path / "km.bin").write_bytes(b"nothing")
    with pytest.raises(InteropError, match=r"km\.bin: no k-means"):
        register_quantizer(tmp_path / "km.bin", "stand-in", K)


def own_front_end(normalise="none"):
    return build_front_end(FeatureConfig(sample_rate_hz=8000, normalise=normalise, stack=2))


def test_our_features_in_their_encoder_give_our_units(wave, tmp_path):
    dense = DenseFrontEnd(own_front_end())
    assert (dense.expected_sample_rate, dense.code_hop_size) == (8000, 160)  # 50 Hz
    frames = dense.front_end(wave)
    kmeans = KMeans(frames[:: len(frames) // K][:K])
    export_sklearn(kmeans, tmp_path / "km.bin")
    encoder = StandInEncoder(tmp_path / "km.bin")
    encoder.dense_model, encoder.code_hop_size, encoder.expected_sample_rate = dense, 160, 8000
    np.testing.assert_array_equal(encode(encoder, wave).units, kmeans.assign(frames))
    with pytest.raises(EncoderError, match="needs all recordings of a speaker"):
        DenseFrontEnd(own_front_end("speaker"))


# -- our units to their vocoders --------------------------------------------------------------
RAW = UnitProvenance("x", 6, 50.0, "sha256:0", K)
COLLAPSED = UnitProvenance("x", 6, 50.0, "sha256:0", K, True)


def test_tacotron_takes_deduplicated_units():
    given = vocoder_input([3, 3, 5, 5, 3], RAW, "tacotron", K)
    assert given.units.tolist() == [3, 5, 3] and given.units.dtype == torch.int64 and given.options == {}


@pytest.mark.parametrize("made_by, predicted", [(RAW, False), (COLLAPSED, True)])
def test_hifigan_predicts_durations_of_deduplicated_units_only(made_by, predicted):
    for units in ([3, 5], np.array([3, 5], np.int32), torch.tensor([3, 5])):
        given = vocoder_input(units, made_by, "hifigan", K)
        assert given.units.tolist() == [[3, 5]] and given.options == {"dur_prediction": predicted}


@pytest.mark.parametrize(
    "units, message",
    [
        (["three", "four"], "a vocoder takes units, not .*no text"),
        ("3 5", "a vocoder takes units"),
        ([3, K], f"{K} is outside 0 … {K - 1}: ids of text or of the joint vocabulary are no units"),
        ([-1, 3], "is outside"),
        ([], "a vocoder takes units"),
        ([0.5], "a vocoder takes units"),
    ],
)
def test_what_is_no_unit_is_not_spoken(units, message):
    with pytest.raises(InteropError, match=message):
        vocoder_input(units, RAW, "hifigan", K)


def test_a_vocoder_of_another_k_and_an_unknown_one_are_refused():
    with pytest.raises(InteropError, match=r"units of K=12 \(x\), but the vocoder speaks K=100"):
        vocoder_input([3], RAW, "hifigan", 100)
    with pytest.raises(InteropError, match="no vocoder 'wavenet'; choose one of: tacotron, hifigan"):
        vocoder_input([3], RAW, "wavenet", K)


# -- the library itself, where it can be imported -----------------------------------------------
@pytest.fixture
def textless(monkeypatch):
    """textless-lib, with a dense model of no weights registered beside its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)  # its dependencies warn at import
        library = pytest.importorskip("textless", exc_type=ImportError)
    manager = library.CHECKPOINT_MANAGER
    monkeypatch.setattr(manager, "storage", dict(manager.storage))
    monkeypatch.setitem(library.DENSE_MODELS, "stand-in", (StandInDense, "stand-in", 3))
    return library


@pytest.mark.filterwarnings("ignore")
def test_the_library_gives_our_units_by_name(textless, exported, kmeans, wave, tmp_path):
    from textless.checkpoint_manager import Checkpoint

    (tmp_path / "weights").write_text("")
    textless.CHECKPOINT_MANAGER.add_checkpoint(Checkpoint("stand-in", "", str(tmp_path / "weights"), ""))
    for deduplicate in (False, True):
        spec = EncoderSpec("stand-in", "kmeans", K, deduplicate=deduplicate, own_kmeans=exported)
        encoder, made_by = spec.build()
        assert type(encoder).__module__ == "textless.data.speech_encoder"
        assert made_by == UnitProvenance("textless:stand-in", 3, 100.0, kmeans.sha256, K, deduplicate)
        made, stand_in = encode(encoder, wave), encode(StandInEncoder(exported, deduplicate), wave)
        np.testing.assert_array_equal(made.units, stand_in.units)
        np.testing.assert_array_equal(made.durations, stand_in.durations)
        if not deduplicate:  # with it, the library's own assertion about `dense` fails
            encoder.add_bos_eos = True
            with pytest.raises(InteropError, match="add_bos_eos=False"):
                encode(encoder, wave)


@pytest.mark.filterwarnings("ignore")
def test_the_library_reads_a_vocoder_input(textless):
    from textless.vocoders.hifigan.vocoder import preprocess_code

    given = vocoder_input([3, 3, 5], RAW, "hifigan", K)
    assert torch.equal(preprocess_code("3 3 5"), given.units)
    assert json.loads(json.dumps(given.options)) == {"dur_prediction": False}
