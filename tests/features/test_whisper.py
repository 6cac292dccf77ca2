"""Whisper's encoder on small random models, against transformers' own."""

import json

import numpy as np
import pytest
import torch
from support.encoders import noise, save_whisper

from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, source_of
from sld_user_dir.features.front_end import build_front_end

LAYERS = (0, 1, 2, 3)  # the model has three blocks, and positions for two seconds


def front_end(folder, layer, **options):
    options.setdefault("context_seconds", 0.2)
    return build_front_end(FeatureConfig(features=str(folder), layer=layer, **options), "cpu")


def transformers_states(model, extractor, wave):
    """All hidden states of transformers on a recording that is filled up to two seconds."""
    features = extractor(wave, sampling_rate=16000, return_tensors="pt", max_length=32000).input_features
    with torch.no_grad():
        return model.encoder(features, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("n_samples", [32000, 31999, 20000, 5000, 161, 160])
def test_with_padding_frames_are_transformers_hidden_states(tmp_path, n_samples):
    model, extractor = save_whisper(tmp_path)
    wave = noise(n_samples) * 0.1
    states = transformers_states(model, extractor, wave)
    for layer in LAYERS:
        front = front_end(tmp_path, layer, pad_to_seconds=2.0)
        frames, n_frames = front(wave), front.n_frames(n_samples)
        expected = states[layer][0, :n_frames]
        if layer == 3:  # transformers' last has the final layer norm
            frames = model.encoder.layer_norm(torch.from_numpy(frames)).detach().numpy()
        np.testing.assert_allclose(frames, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("n_samples", [32000, 20000, 5000, 400])
def test_without_padding_frames_are_transformers_blocks_on_the_recording_alone(tmp_path, n_samples):
    model, extractor = save_whisper(tmp_path)
    wave = noise(n_samples) * 0.1
    features = extractor(wave, sampling_rate=16000, return_tensors="pt", padding=False, truncation=False).input_features
    encoder = model.encoder
    with torch.no_grad():
        hidden = torch.nn.functional.gelu(encoder.conv1(features))
        hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in LAYERS:
            front = front_end(tmp_path, layer)
            frames = front(wave)
            assert len(frames) == front.n_frames(n_samples) == (n_samples // 160 + 1) // 2
            np.testing.assert_allclose(frames, hidden[0].numpy(), atol=1e-5)
            if layer < 3:
                hidden = encoder.layers[layer](hidden, None)


@pytest.mark.parametrize("pad_to_seconds", [None, 1.0])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_batches_do_not_leak_padding(tmp_path, pad_to_seconds, attention):
    save_whisper(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "attn_implementation": attention}))
    front = front_end(tmp_path, 3, pad_to_seconds=pad_to_seconds)
    waves = [noise(n, n) * 0.1 for n in (9000, 160, 32000, 4001, 159, 16000, 7777)]
    together = front.encode_batch(waves)
    assert [len(frames) for frames in together] == [28, 1, 100, 13, 0, 50, 24]
    for wave, frames in zip(waves, together):
        np.testing.assert_allclose(frames, front(wave), atol=1e-5)


@pytest.mark.parametrize("n_samples", [160, 319, 320, 32001, 33333, 48160, 64000, 64123])
def test_pieces_join_to_the_number_of_frames_of_the_whole(tmp_path, n_samples):
    save_whisper(tmp_path)
    for context in (0.0, 0.25):
        front = front_end(tmp_path, 1, chunk_seconds=0.5, context_seconds=context)
        frames = front(noise(n_samples))
        assert len(frames) == front.n_frames(n_samples) and np.isfinite(frames).all()


def test_all_pieces_are_raised_to_the_peak_of_the_recording(tmp_path):
    """Layer 0 without its positions, which count anew in each piece, sees the spectrogram alone."""
    save_whisper(tmp_path, positions=False)
    wave = noise(30000) * np.linspace(1e-5, 1.0, 30000, dtype=np.float32) ** 2  # its beginning is below the floor
    whole = front_end(tmp_path, 0, context_seconds=0.0)(wave)
    pieces = front_end(tmp_path, 0, chunk_seconds=0.4, context_seconds=0.1)(wave)
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


def test_a_recording_that_is_too_long_goes_in_pieces_of_what_the_context_leaves(tmp_path):
    save_whisper(tmp_path)
    front = front_end(tmp_path, 2, context_seconds=0.25)
    assert ":chunk1.5+0.25s" in front.encoder
    assert len(front(noise(160000))) == 500


@pytest.mark.parametrize(
    "options, message",
    [
        ({"chunk_seconds": 1.7}, r"--chunk-seconds 1.7 --context-.*: .* takes 2 seconds .*--chunk-seconds 1.6"),
        ({"context_seconds": 1.0}, r"--context-seconds 1: .* takes 2 seconds .* context below 1 seconds"),
        ({"pad_to_seconds": 2.1}, r"--pad-to-seconds 2.1: .* takes 2 seconds at a time"),
        ({"sample_rate_hz": 8000}, "wants 16000 Hz"),
        ({"layer": 4}, "--layer 4: .* has layers 0 to 3"),
        ({"fp16": True}, "--fp16: half precision is for GPUs"),
    ],
)
def test_impossible_settings_are_errors(tmp_path, options, message):
    save_whisper(tmp_path)
    with pytest.raises(EncoderError, match=message):
        front_end(tmp_path, **{"layer": 1, **options})


def test_the_name_tells_weights_and_settings(tmp_path):
    save_whisper(tmp_path)
    plain, padded = front_end(tmp_path, 2), front_end(tmp_path, 2, pad_to_seconds=2.0)
    kind, _, settings = plain.encoder.partition("@")
    assert kind == "whisper" and settings[12:] == ":16000Hz:chunk1.6+0.2s"
    assert padded.encoder == plain.encoder + ":pad2s"
    assert front_end(tmp_path, 1).encoder != plain.encoder


def test_which_names_are_whispers(tmp_path):
    save_whisper(tmp_path / "model")
    (tmp_path / "whisper-empty").mkdir()
    ours = [str(tmp_path / "model"), "openai/whisper-tiny.en", "someone/my-Whisper"]
    assert all("Whisper" in source_of(name).name for name in ours)
    assert not any("Whisper" in source_of(name).name for name in (str(tmp_path), "facebook/hubert-base-ls960"))


@pytest.mark.parametrize("features", ["mfcc", "facebook/hubert-base-ls960"])
def test_other_encoders_refuse_to_fill_up(features):
    layer = None if features == "mfcc" else 1
    with pytest.raises(EncoderError, match="--pad-to-seconds 30: only Whisper was trained"):
        build_front_end(FeatureConfig(features=features, layer=layer, pad_to_seconds=30.0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_and_fp16_agree_with_the_cpu(tmp_path):
    save_whisper(tmp_path)
    waves = [noise(20000) * 0.1, noise(7000) * 0.1]
    settings = {"features": str(tmp_path), "layer": 2, "context_seconds": 0.2}
    on_cpu = build_front_end(FeatureConfig(**settings), "cpu").encode_batch(waves)
    for fp16, tolerance in ((False, 1e-3), (True, 3e-2)):
        front = build_front_end(FeatureConfig(**settings, fp16=fp16), "cuda")
        assert (":fp16" in front.encoder) == fp16
        for frames, expected in zip(front.encode_batch(waves), on_cpu):
            np.testing.assert_allclose(frames, expected, atol=tolerance)
