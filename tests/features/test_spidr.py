"""SpidR's backend on a small random model: of the package where it is installed, and of a stand-in anywhere."""

import importlib
import importlib.util
import json
import sys
import urllib.error

import numpy as np
import pytest
import torch
from support import spidr_stand_in
from support.encoders import noise

from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, source_of
from sld_user_dir.features.front_end import build_front_end

SMALL = {
    "extractor_conv_layer_config": [(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2,
    "encoder_embed_dim": 32,
    "encoder_pos_conv_kernel": 15,
    "encoder_pos_conv_groups": 4,
    "encoder_pos_conv_depth": 2,
    "encoder_num_layers": 3,
    "encoder_num_heads": 4,
    "encoder_ff_interm_features": 48,
    "codebook_size": 8,
    "num_codebooks": 2,
}
INSTALLED = "spidr" not in sys.modules and importlib.util.find_spec("spidr") is not None
PACKAGE = pytest.param("package", marks=pytest.mark.skipif(not INSTALLED, reason="spidr is not installed"))


@pytest.fixture(params=["stand-in", PACKAGE])
def spidr(request, monkeypatch):
    """`spidr.models.build_model` and `spidr.config.SpidRConfig`."""
    if request.param == "stand-in":
        for name, module in spidr_stand_in.modules().items():
            monkeypatch.setitem(sys.modules, name, module)
    config, models = importlib.import_module("spidr.config"), importlib.import_module("spidr.models")
    return models.build_model, config.SpidRConfig


def save(spidr, folder, model_type="spidr", prefix=""):
    """A random model and its checkpoint, `step_10.pt`, as training writes it."""
    build_model, config_class = spidr
    torch.manual_seed(5)
    model = build_model(cfg=config_class(**SMALL)).eval()
    for weight in model.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    weights = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({"model": weights, "step": torch.zeros(1)}, folder / "step_10.pt")
    settings = {"run": {"model_type": model_type}, "model": SMALL}
    (folder / "config.json").write_text(json.dumps(settings))
    return model, folder / "step_10.pt"


def front_end(where, layer, **options):
    return build_front_end(FeatureConfig(features=str(where), layer=layer, **options), "cpu")


def normalised(wave):
    return torch.nn.functional.layer_norm(torch.from_numpy(wave), wave.shape)


def test_frames_are_the_packages_intermediate_outputs(spidr, tmp_path):
    model, path = save(spidr, tmp_path)
    wave = noise(8000) * 0.1
    with torch.no_grad():
        expected = model.get_intermediate_outputs(normalised(wave)[None])
    for layer in (1, 2, 3):
        front = front_end(path, layer)
        assert (front.dim, front.frame_rate_hz, front.n_frames(8000)) == (32, 50, 24)
        np.testing.assert_allclose(front(wave), expected[layer - 1][0].numpy(), atol=1e-5)


def test_layer_0_is_the_first_blocks_input(spidr, tmp_path):
    model, path = save(spidr, tmp_path)
    seen = []
    model.student.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    wave = noise(8000)
    with torch.no_grad():
        model.get_intermediate_outputs(normalised(wave)[None])
    np.testing.assert_allclose(front_end(path, 0)(wave), seen[0][0].numpy(), atol=1e-5)


def test_batches_do_not_leak_padding(spidr, tmp_path):
    front = front_end(save(spidr, tmp_path)[1], 3)
    waves = [noise(n, n) for n in (9000, 400, 4001, 399, 7777)]
    for wave, frames in zip(waves, front.encode_batch(waves)):
        np.testing.assert_allclose(frames, front(wave), atol=1e-5)


@pytest.mark.parametrize("model_type", ["spidr", "dinosr"])
def test_the_name_tells_kind_weights_and_settings(spidr, tmp_path, model_type):
    front = front_end(save(spidr, tmp_path, model_type)[1], 2)
    kind, _, settings = front.encoder.partition("@")
    assert kind == model_type and settings[12:] == ":16000Hz:wavenorm:chunk30+2s"
    assert front_end(tmp_path / "step_10.pt", 1).encoder != front.encoder


def test_checkpoints_of_distributed_training_are_known(spidr, tmp_path):
    assert "SpidR" in source_of(str(save(spidr, tmp_path, prefix="module.")[1])).name


@pytest.mark.parametrize(
    "options, message",
    [
        ({"layer": 4}, r"--layer 4: .*step_10\.pt has layers 0 to 3"),
        ({"layer": 1, "sample_rate_hz": 8000}, "wants 16000 Hz"),
        ({"layer": 1, "fp16": True}, "half precision is for GPUs"),
        ({"layer": 1, "pad_to_seconds": 30.0}, "only Whisper was trained"),
    ],
)
def test_impossible_settings_are_errors(spidr, tmp_path, options, message):
    path = save(spidr, tmp_path)[1]
    with pytest.raises(EncoderError, match=message):
        front_end(path, **options)


def test_a_checkpoint_with_settings_of_another(spidr, tmp_path):
    path = save(spidr, tmp_path)[1]
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["model"]["encoder_embed_dim"] = 64
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(EncoderError, match=r"step_10\.pt: spidr cannot load it .*config\.json of its training"):
        front_end(path, 1)


def test_settings_that_cannot_be_read(spidr, tmp_path):
    path = save(spidr, tmp_path)[1]
    (tmp_path / "config.json").write_bytes(b'{\n"run": {"model_type": "dinosr\xe9"}}')
    with pytest.raises(EncoderError, match=r"config\.json:2: byte 0xe9 is not UTF-8"):
        front_end(path, 1)


def test_a_published_name_that_cannot_be_reached_says_which_file_to_give(spidr, tmp_path, monkeypatch):
    def unreachable(url, *args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(EncoderError, match=r"spidr_base.*cannot be reached .*--features DIRECTORY/spidr_base\.pt"):
        front_end("spidr_base", 6)


def test_a_published_name_in_torchs_cache_is_taken_from_there(spidr, tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    path = save(spidr, folder)[1]
    path.rename(folder / "spidr_base.pt")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert front_end("spidr_base", 2).encoder == front_end(folder / "spidr_base.pt", 2).encoder


def test_the_original_dinosr_is_refused_for_its_pickles():
    with pytest.raises(EncoderError, match=r"pickled objects, .*encoder_qkv_bias"):
        front_end("dinosr_base_original", 5)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "spidr", None)
    monkeypatch.setitem(sys.modules, "spidr.models", None)
    with pytest.raises(EncoderError, match=r"--features spidr_base: the package spidr, .*pip install spidr"):
        front_end("spidr_base", 6)
