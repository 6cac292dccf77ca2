"""Models that cannot be had: what the error says, and which form to give instead."""

import json
import logging

import huggingface_hub.constants
import pytest
from support.encoders import save_transformers, save_whisper

from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.features.trained_encoder import save_trained_encoder

FORM = "config.json, preprocessor_config.json and model.safetensors"


def error_of(features, **options):
    with pytest.raises(EncoderError) as caught:
        build_front_end(FeatureConfig(**{"features": str(features), "layer": 1, **options}), "cpu")
    return caught.value


@pytest.mark.parametrize("name", ["openai/whisper-tiny", "facebook/hubert-base-ls960"])
def test_a_hub_name_that_cannot_be_reached_says_which_directory_to_give(name, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    error = error_of(name)
    assert error.where == name and "no such directory" in error.problem and "hub name" in error.problem
    assert FORM in error.remedy and "hf download NAME --local-dir DIRECTORY" in error.remedy


@pytest.mark.parametrize("save", [save_transformers, save_whisper])
def test_a_directory_without_weights(save, tmp_path):
    save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert str(error_of(tmp_path)).startswith(f"{tmp_path}: a directory without weights; give one in")


def test_a_directory_without_a_model(tmp_path):
    error = error_of(tmp_path)
    assert error.problem == "a directory without config.json" and error.remedy.endswith(FORM)


@pytest.mark.parametrize("save", [save_transformers, save_whisper])
def test_weights_that_are_broken(save, tmp_path):
    save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "transformers cannot load it" in error_of(tmp_path).problem


@pytest.mark.parametrize("save", [save_transformers, save_whisper])
def test_weights_that_do_not_fit_their_config(save, tmp_path):
    save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    width = "d_model" if "d_model" in config else "hidden_size"
    (tmp_path / "config.json").write_text(json.dumps({**config, width: 64}))
    assert "transformers cannot load it" in error_of(tmp_path).problem


def test_a_model_of_another_family(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nothing-like-it"}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "transformers cannot load it" in error_of(tmp_path).problem


def test_a_file_in_place_of_its_directory(tmp_path):
    save_transformers(tmp_path)
    error = error_of(tmp_path / "model.safetensors")
    assert error.problem == "a file" and "give its directory" in error.remedy


def test_a_checkpoint_that_is_not_there(tmp_path):
    assert "no such checkpoint" in error_of(tmp_path / "none.pt").problem


UNREADABLE = {
    "a byte of Latin-1": (b'{\n"a": "\xe9"}', ":2: byte 0xe9 is not UTF-8"),
    "cut": (b'{\n"do_normalize": ', ":2: not JSON"),
    "UTF-16": ("{}".encode("utf-16"), ":1: the file is UTF-16"),
    "empty": (b"", ":1: not JSON"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n", ": a Git LFS pointer"),
    "list": (b"[]", ": the settings of a feature extractor are list"),
    "another kind of value": (b'{"do_normalize": "false"}', ": do_normalize is 'false'; write true or false there"),
    "no rate": (b'{"sampling_rate": null}', ": sampling_rate is None; write a whole number there"),
}
"""What a file of a feature extractor holds, and what is said of it."""


@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("save", [save_transformers, save_whisper])
def test_an_extractor_that_cannot_be_read_is_not_a_missing_one(save, kind, name, tmp_path):
    save(tmp_path)
    content, message = UNREADABLE[kind]
    if name == "processor_config.json" and content.startswith(b'{"'):
        content = b'{"feature_extractor": ' + content + b"}"
    (tmp_path / name).write_bytes(content)
    assert str(error_of(tmp_path)).startswith(f"{tmp_path / name}{message}")


@pytest.mark.parametrize("save", [save_transformers, save_whisper])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_config_that_transformers_cannot_read_is_named(save, encoding, tmp_path):
    save(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text(encoding="utf-8"), encoding=encoding)
    said = {"utf-8-sig": "begins with a byte order mark, which transformers does not", "utf-16": "the file is UTF-16"}
    assert str(error_of(tmp_path)).startswith(f"{config}:1: {said[encoding]}")


def test_settings_that_make_no_extractor(tmp_path):
    save_whisper(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"feature_size": "x"}')
    error = error_of(tmp_path)
    assert error.where == tmp_path / "preprocessor_config.json" and "makes no feature extractor" in error.problem


@pytest.mark.parametrize("wrap", ["{}", "\ufeff{}", '{{"feature_extractor": {}}}'])
def test_where_and_how_an_extractor_may_be_stated(wrap, tmp_path):
    save_transformers(tmp_path)
    stated = tmp_path / "preprocessor_config.json"
    text = json.dumps({**json.loads(stated.read_text()), "do_normalize": True})
    stated.unlink()
    name = "processor_config.json" if "feature_extractor" in wrap else stated.name
    (tmp_path / name).write_text(wrap.format(text), encoding="utf-8")
    front_end = build_front_end(FeatureConfig(features=str(tmp_path), layer=1), "cpu")
    assert "wavenorm" in front_end.encoder
    save_trained_encoder(str(tmp_path), {}, tmp_path / "trained")
    assert json.loads((tmp_path / "trained" / stated.name).read_text())["do_normalize"] is True


@pytest.mark.parametrize("prenorm", [False, True])
def test_the_default_where_no_extractor_is_stated(prenorm, tmp_path, caplog):
    save_transformers(tmp_path, prenorm=prenorm)
    stated = build_front_end(FeatureConfig(features=str(tmp_path), layer=1), "cpu").encoder
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text('{"processor_class": "Wav2Vec2Processor"}')
    with caplog.at_level(logging.WARNING):
        assert build_front_end(FeatureConfig(features=str(tmp_path), layer=1), "cpu").encoder == stated
    assert "has no preprocessor_config.json" in caplog.text


def test_a_whisper_without_an_extractor(tmp_path):
    save_whisper(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    assert error_of(tmp_path).problem == "it has no preprocessor_config.json"


@pytest.mark.parametrize("save", [save_transformers, save_whisper])
@pytest.mark.parametrize(
    "options, message",
    [
        ({"sample_rate_hz": 8000}, "it wants 16000 Hz; take --sample-rate-hz 16000 (audio is resampled)"),
        ({"layer": 4}, "has layers 0 to 3; take one of them, or the model that was meant"),
        ({"layer": -1}, "layers count from 0, the first block's input; take 0 or more"),
        ({"layer": None}, "it has layers; say which to take, for example --layer 9"),
        ({"fp16": True}, "half precision is for GPUs; take --nofp16 or --device cuda"),
    ],
)
def test_settings_that_the_model_cannot_have(save, options, message, tmp_path):
    save(tmp_path)
    assert str(error_of(tmp_path, **options)).endswith(message)
