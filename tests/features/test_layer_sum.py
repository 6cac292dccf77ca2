"""Weighted sums of an encoder's layers: against the layers one by one, in each family, and what is refused."""

import importlib
import sys

import numpy as np
import pytest
import torch
from support import spidr_stand_in
from support.encoders import FAMILIES, noise, save_fairseq, save_transformers, save_whisper

from sld_user_dir.errors import InputError
from sld_user_dir.features.cmvn import CmvnStats
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.front_end import build_front_end

WEIGHTS = (0.5, 0.2, 0.3)
LAYERS = (3, 0, 2)
WAVES = [noise(9000, 1) * 0.1, noise(4001, 2) * 0.1, noise(399, 3) * 0.1]


def save_spidr(folder, monkeypatch):
    for name, module in spidr_stand_in.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    convolutions = [(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2
    settings = (convolutions, 32, 15, 4, 2, 3, 4, 48, 8, 2)
    model = importlib.import_module("spidr.models").build_model(cfg=spidr_stand_in.SpidRConfig(*settings))
    torch.save({"model": model.state_dict()}, folder / "step_10.pt")
    names = spidr_stand_in.SpidRConfig.__dataclass_fields__
    text = importlib.import_module("json").dumps({"run": {"model_type": "spidr"}, "model": dict(zip(names, settings))})
    (folder / "config.json").write_text(text)
    return folder / "step_10.pt"


@pytest.fixture(params=["hubert", "prenorm", "wavlm", "whisper", "fairseq", "fairseq-prenorm", "spidr"])
def model(request, tmp_path, monkeypatch):
    """Where a random encoder of three blocks lies."""
    if request.param == "spidr":
        return save_spidr(tmp_path, monkeypatch)
    if request.param == "whisper":
        save_whisper(tmp_path)
    elif request.param.startswith("fairseq"):
        save_fairseq(tmp_path / "model.pt", "hubert", request.param.endswith("prenorm"))
        return tmp_path / "model.pt"
    else:
        family = request.param if request.param in FAMILIES else "hubert"
        save_transformers(tmp_path, family, request.param == "prenorm")
    return tmp_path


def front_end(where, **options):
    return build_front_end(FeatureConfig(features=str(where), context_seconds=0.2, **options), "cpu")


def summed(where, **options):
    layers, weights = (",".join(map(str, values)) for values in (LAYERS, WEIGHTS))
    return front_end(where, layers=layers, layer_weights=weights, **options)


def test_frames_are_the_weighted_sum_of_the_layers(model):
    """In batches of recordings of other lengths; a recording without frames among them."""
    one_by_one = [front_end(model, layer=layer).encode_batch(WAVES) for layer in LAYERS]
    both = summed(model)
    assert both.dim == front_end(model, layer=1).dim and both.layer is None
    for i, found in enumerate(both.encode_batch(WAVES)):
        expected = sum(weight * frames[i] for weight, frames in zip(WEIGHTS, one_by_one))
        assert found.shape == (both.n_frames(len(WAVES[i])), both.dim)
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("normalise", ["none", "utterance", "speaker"])
def test_the_layers_are_there_before_their_sum(tmp_path, normalise):
    """Each normalised and stacked by itself, so that any weights can be tried on them; also in pieces."""
    save_transformers(tmp_path)
    options = {"normalise": normalise, "stack": 2, "chunk_seconds": 0.3}
    both, wave = summed(tmp_path, **options), noise(9000)
    stats = both.new_stats() if normalise == "speaker" else None
    if stats is not None:
        both.add_speaker_stats(noise(9000, 7), stats)
    layers = both.layer_frames(wave, stats)
    assert layers.shape == (both.n_frames(len(wave)), len(LAYERS), both.dim)
    np.testing.assert_allclose(np.einsum("tld,l->td", layers, WEIGHTS), both(wave, stats), atol=1e-5)
    for at, layer in enumerate(LAYERS):
        alone, of_layer = front_end(tmp_path, layer=layer, **options), None
        if stats is not None:
            of_layer = CmvnStats(32)
            alone.add_speaker_stats(noise(9000, 7), of_layer)
        np.testing.assert_allclose(layers[:, at], alone(wave, of_layer), atol=1e-4)


def test_one_layer_of_weight_1_is_that_layer_alone(tmp_path):
    save_transformers(tmp_path)
    alone = front_end(tmp_path, layer=2)(noise(6000))
    for options in ({"layers": "2"}, {"layers": "1,2,3", "layer_weights": "0,5,0"}):
        np.testing.assert_allclose(front_end(tmp_path, **options)(noise(6000)), alone, atol=1e-6)


def test_the_name_changes_with_layers_and_weights_alone(tmp_path):
    save_transformers(tmp_path)
    names = [
        front_end(tmp_path, **options).encoder
        for options in (
            {"layer": 3},
            {"layers": "2,3"},
            {"layers": "1,3"},
            {"layers": "1,3", "layer_weights": "1,2"},
            {"layers": "1,3", "layer_weights": "2,1"},
            {"layers": "1,3", "stack": 2},
        )
    ]
    assert len(set(names)) == len(names) and names[2] + "+stack2" == names[-1]
    assert front_end(tmp_path, layers="1,3", layer_weights="7,7").encoder == names[2]
    assert front_end(tmp_path, layers="1,3", layer_weights="0.5,1").encoder == names[3]


def test_files_without_layers_keep_their_bytes():
    """What a k-means file stores of the features, which is hashed, too, by jobs in shards."""
    assert set(FeatureConfig().to_dict()) == {
        *("features", "sample_rate_hz", "layer", "normalise", "stack", "fp16"),
        *("chunk_seconds", "context_seconds", "pad_to_seconds"),
    }
    config = FeatureConfig("a", layers="1,2", layer_weights="1,3")
    assert FeatureConfig(**config.to_dict()) == config


@pytest.mark.parametrize(
    "options, message",
    [
        ({"layers": "1,4"}, "--layer 4: .* has layers 0 to 3"),
        ({"layers": "1,-1"}, "--layers 1,-1: a layer below 0"),
        ({"layers": "1,1"}, "--layers 1,1: .* one twice"),
        ({"layers": "1,b"}, "--layers 1,b: no numbers of layers"),
        ({"layers": ""}, "--layers : no numbers"),
        ({"layers": "1,2", "layer": 1}, "--layer 1 --layers 1,2: one layer, or a sum"),
        ({"layers": "1,2", "layer_weights": "1,2,3"}, r"--layer-weights 1,2,3: 3 weights for 2 layers \(1,2\)"),
        ({"layers": "1,2", "layer_weights": "1,-1"}, "--layer-weights 1,-1: weights that are below 0"),
        ({"layers": "1,2", "layer_weights": "0,0"}, "all 0"),
        ({"layers": "1,2", "layer_weights": "1,nan"}, "no numbers"),
        ({"layers": "1,2", "layer_weights": "1,inf"}, "no numbers"),
        ({"layers": "1,2", "layer_weights": ""}, "--layer-weights : no numbers"),
        ({"layer": 1, "layer_weights": "1"}, "--layer-weights 1: weights of no layers"),
        ({"features": "mfcc", "layers": "1,2"}, "--features mfcc --layers 1,2: it has no layers"),
    ],
)
def test_what_is_no_sum_is_refused(tmp_path, options, message):
    save_transformers(tmp_path)
    with pytest.raises(InputError, match=message):
        front_end(options.get("features", tmp_path), **{k: v for k, v in options.items() if k != "features"})
