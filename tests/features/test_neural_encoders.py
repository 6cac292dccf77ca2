"""Neural encoders: layers, loaders, batching, chunks, on small random models."""

import numpy as np
import pytest
import torch
from support.encoders import FAMILIES, noise, save_fairseq, save_transformers

from sld_user_dir.devices import DeviceError
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError
from sld_user_dir.features.front_end import build_front_end

CASES = [(family, prenorm) for family in FAMILIES for prenorm in (False, True)]


def front_end(where, layer, **options):
    return build_front_end(FeatureConfig(features=str(where), layer=layer, **options), "cpu")


@pytest.mark.parametrize("family, prenorm", CASES)
def test_layers_are_block_outputs_counted_from_one(tmp_path, family, prenorm):
    model = save_transformers(tmp_path, family, prenorm)
    outputs = []
    for block in model.encoder.layers:
        block.register_forward_hook(lambda _, __, out: outputs.append(out[0] if isinstance(out, tuple) else out))
    wave = torch.from_numpy(noise(6000))
    if prenorm:
        wave = (wave - wave.mean()) / torch.sqrt(wave.var(unbiased=False) + 1e-7)
    with torch.no_grad():
        model(wave[None])
    for layer in (1, 2, 3):
        frames = front_end(tmp_path, layer)(noise(6000))
        np.testing.assert_allclose(frames, outputs[layer - 1].reshape(frames.shape).numpy(), atol=1e-5)


@pytest.mark.parametrize("family, prenorm", CASES)
def test_batches_do_not_leak_padding(tmp_path, family, prenorm):
    save_transformers(tmp_path, family, prenorm)
    front = front_end(tmp_path, 2)
    waves = [noise(n, n) for n in (9000, 400, 4001, 399, 7777)]
    together = front.encode_batch(waves)
    assert [len(frames) for frames in together] == [27, 1, 12, 0, 24]
    for wave, frames in zip(waves, together):
        np.testing.assert_allclose(frames, front(wave), atol=1e-5)


@pytest.mark.parametrize("n_samples", [400, 719, 720, 32000, 33333, 48079, 48080, 64123])
def test_chunks_join_to_the_same_number_of_frames(tmp_path, n_samples):
    save_transformers(tmp_path)
    front = front_end(tmp_path, 1, chunk_seconds=1.0, context_seconds=0.25)
    frames = front(noise(n_samples))
    assert len(frames) == front.n_frames(n_samples) == (n_samples - 400) // 320 + 1
    assert np.isfinite(frames).all()


def test_chunks_with_enough_context_give_the_frames_of_the_whole(tmp_path):
    """Layer 0 sees the convolutions (400 samples) and the positional kernel (16 frames) only."""
    save_transformers(tmp_path, prenorm=True)  # layer norms: no average over time
    wave = noise(48000)
    whole = front_end(tmp_path, 0, chunk_seconds=10.0)(wave)
    pieces = front_end(tmp_path, 0, chunk_seconds=0.5, context_seconds=0.2)(wave)
    np.testing.assert_allclose(pieces, whole, atol=1e-5)
    bare = front_end(tmp_path, 0, chunk_seconds=0.5, context_seconds=0.0)(wave)
    assert np.abs(bare - whole).max() > 1e-3  # the context is what did it


def test_encoder_names_what_changes_frames(tmp_path):
    save_transformers(tmp_path / "a")
    save_transformers(tmp_path / "b")  # the same weights elsewhere
    save_transformers(tmp_path / "c", prenorm=True)
    one = front_end(tmp_path / "a", 2).encoder
    assert one == front_end(tmp_path / "b", 2).encoder
    others = [
        front_end(tmp_path / "c", 2),
        front_end(tmp_path / "a", 1),
        front_end(tmp_path / "a", 2, chunk_seconds=5.0),
        front_end(tmp_path / "a", 2, stack=2),
    ]
    assert len({one, *(front.encoder for front in others)}) == 5


# ---- fairseq checkpoints

RENAMES = [
    ("post_extract_proj.", "feature_projection.projection."),
    ("self_attn.", "attention."),
    ("self_attn_layer_norm.", "layer_norm."),
    ("fc1.", "feed_forward.intermediate_dense."),
    ("fc2.", "feed_forward.output_dense."),
    ("pos_conv.0.weight_g", "pos_conv_embed.conv.parametrizations.weight.original0"),
    ("pos_conv.0.weight_v", "pos_conv_embed.conv.parametrizations.weight.original1"),
    ("pos_conv.0.", "pos_conv_embed.conv."),
]


def transformers_name(name):
    """fairseq's name of a weight in transformers."""
    if name.startswith("layer_norm."):
        return "feature_projection." + name
    if name.startswith("feature_extractor"):
        part, list_, number, rest = name.split(".", 3)  # rest: 0.weight, 2.weight or 2.1.weight
        kind = "conv" if rest.startswith("0.") else "layer_norm"
        return f"{part}.{list_}.{number}.{kind}.{rest.rsplit('.', 1)[1]}"
    for old, new in RENAMES:
        if old in name:
            return name.replace(old, new)
    return name


@pytest.mark.parametrize("prenorm", [False, True])
@pytest.mark.parametrize("family", ["hubert", "wav2vec2"])
def test_both_loaders_agree_on_every_layer(tmp_path, family, prenorm):
    original = save_fairseq(tmp_path / "model.pt", family, prenorm)
    twin = save_transformers(tmp_path / "hf", family, prenorm)
    weights = {transformers_name(k): v for k, v in original.state_dict().items()}
    wanted = twin.state_dict()
    twin.load_state_dict({name: weights.get(name, wanted[name]) for name in wanted})
    assert set(wanted) - set(weights) <= {"masked_spec_embed"}
    twin.save_pretrained(tmp_path / "hf")
    wave = noise(8000)
    for layer in (0, 1, 2, 3):
        by_fairseq = front_end(tmp_path / "model.pt", layer)
        by_transformers = front_end(tmp_path / "hf", layer)
        assert by_fairseq.n_frames(8000) == by_transformers.n_frames(8000)
        np.testing.assert_allclose(by_fairseq(wave), by_transformers(wave), atol=1e-4)


def test_fairseq_layer_is_its_own_output_layer(tmp_path):
    original = save_fairseq(tmp_path / "model.pt", "hubert", False)
    wave = noise(8000)
    with torch.no_grad():
        expected, _ = original.extract_features(torch.from_numpy(wave)[None], output_layer=2)
    np.testing.assert_allclose(front_end(tmp_path / "model.pt", 2)(wave), expected[0].numpy(), atol=1e-5)


def test_fairseq_batches_do_not_leak_padding(tmp_path):
    save_fairseq(tmp_path / "model.pt", "hubert", False)
    front = front_end(tmp_path / "model.pt", 2)
    waves = [noise(n, n) for n in (9000, 400, 4001)]
    for wave, frames in zip(waves, front.encode_batch(waves)):
        np.testing.assert_allclose(frames, front(wave), atol=1e-5)


class Payload:
    """What a malicious checkpoint could hold."""

    def __reduce__(self):
        return (print, ("pickled code ran",))


def test_pickled_code_is_refused(tmp_path, capfd):
    torch.save({"model": {}, "cfg": Payload()}, tmp_path / "bad.pt")
    with pytest.raises(EncoderError, match="without running pickled code"):
        front_end(tmp_path / "bad.pt", 1)
    assert "pickled code ran" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "options, message",
    [
        ({"layer": 4}, "--layer 4: .* has layers 0 to 3"),
        ({"layer": -1}, "count from 0"),
        ({"layer": 1, "sample_rate_hz": 8000}, "wants 16000 Hz"),
        ({"layer": 1, "fp16": True}, "--fp16: half precision is for GPUs"),
    ],
)
def test_impossible_settings_are_errors(tmp_path, options, message):
    save_transformers(tmp_path)
    with pytest.raises(EncoderError, match=message):
        front_end(tmp_path, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_without_one_is_an_error(tmp_path):
    save_transformers(tmp_path)
    with pytest.raises(DeviceError, match="torch sees no GPU"):
        build_front_end(FeatureConfig(features=str(tmp_path), layer=1), "cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_and_fp16_agree_with_the_cpu(tmp_path):
    save_transformers(tmp_path)
    wave = noise(16000)
    on_cpu = front_end(tmp_path, 2)(wave)
    config = FeatureConfig(features=str(tmp_path), layer=2)
    np.testing.assert_allclose(build_front_end(config, "cuda")(wave), on_cpu, atol=1e-3)
    half = FeatureConfig(features=str(tmp_path), layer=2, fp16=True)
    np.testing.assert_allclose(build_front_end(half, "cuda")(wave), on_cpu, atol=3e-2)
