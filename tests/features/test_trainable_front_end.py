"""The front end as a part of a network: the frames of `FrontEnd`, gradients, what is trained, and what is saved."""

import numpy as np
import pytest
import torch
from support.encoders import noise, save_transformers, save_whisper

from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.features.trainable_front_end import TrainableFrontEnd
from sld_user_dir.features.trained_encoder import encoder_name, save_trained_encoder

WAVES = [noise(9000, 1) * 0.1, noise(399, 3) * 0.1, noise(4001, 2) * 0.1]
WHISPER = {"context_seconds": 0.2}


def frames_of(front_end, waves=WAVES):
    return front_end([torch.from_numpy(wave) for wave in waves])


@pytest.mark.parametrize("family", ["hubert", "wavlm", "whisper"])
@pytest.mark.parametrize(
    "options",
    [
        {"layer": 2},
        {"layer": 3, "normalise": "utterance", "stack": 2, "chunk_seconds": 0.3, "context_seconds": 0.05},
        {"layers": "1,3", "layer_weights": "1,2", "normalise": "utterance", "stack": 3},
    ],
)
def test_frames_are_those_of_the_front_end(tmp_path, family, options):
    save_whisper(tmp_path) if family == "whisper" else save_transformers(tmp_path, family)
    config = FeatureConfig(str(tmp_path), **{**WHISPER, **options})
    expected = build_front_end(config, "cpu")
    found = frames_of(TrainableFrontEnd(config).train())
    np.testing.assert_allclose(found.detach(), np.concatenate(expected.encode_batch(WAVES)), atol=2e-4)
    if config.layers:
        each = frames_of(TrainableFrontEnd(config, each_layer=True))
        by_layer = np.concatenate([expected.layer_frames(wave) for wave in WAVES])
        np.testing.assert_allclose(each.detach(), by_layer, atol=2e-4)


def test_the_gradient_is_that_of_finite_differences(tmp_path):
    """Along one direction of all trained weights."""
    save_transformers(tmp_path)
    front_end = TrainableFrontEnd(FeatureConfig(str(tmp_path), layers="1,2", normalise="utterance", stack=2))
    slope = torch.randn(len(frames_of(front_end)), 64, generator=torch.Generator().manual_seed(0))
    (frames_of(front_end) * slope).mean().backward()
    trained = [one for one in front_end.parameters() if one.requires_grad]
    direction = [torch.randn_like(one) * one.detach().std().clamp(min=0.01) for one in trained]
    expected = sum(float((one.grad * d).sum()) for one, d in zip(trained, direction))
    values = []
    with torch.no_grad():
        for step in (1e-3, -2e-3):
            for one, d in zip(trained, direction):
                one.add_(d, alpha=step)
            values.append(float((frames_of(front_end).double() * slope).mean()))
    assert (values[0] - values[1]) / 2e-3 == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("family", ["hubert", "whisper"])
def test_what_is_saved_is_an_ordinary_encoder(tmp_path, family):
    start, out = tmp_path / "start", tmp_path / "out"
    save_whisper(start) if family == "whisper" else save_transformers(start, family, prenorm=True)
    config = FeatureConfig(str(start), layer=2, **WHISPER)
    front_end = TrainableFrontEnd(config)
    fixed = [name for name, one in front_end.named_parameters() if not one.requires_grad]
    assert fixed and all(".feature_extractor." in name or "embed_positions" in name for name in fixed)
    with torch.no_grad():
        for one in front_end.parameters():
            one.mul_(1.1 if one.requires_grad else 1.0)
    save_trained_encoder(str(start), front_end.model.state_dict(), out)
    saved = FeatureConfig(str(out), layer=2, **WHISPER)
    np.testing.assert_allclose(
        np.concatenate(build_front_end(saved, "cpu").encode_batch(WAVES)), frames_of(front_end).detach(), atol=2e-4
    )
    assert encoder_name(saved.to_dict()) != encoder_name(config.to_dict())
    save_trained_encoder(str(start), front_end.model.state_dict(), out)  # as after a kill: the same is there
    with pytest.raises(EncoderError, match="it exists, and is another encoder"):
        save_trained_encoder(str(start), TrainableFrontEnd(config).model.state_dict(), out)
    with pytest.raises(EncoderError, match=r"no weights other\.weight"):
        save_trained_encoder(str(start), {"other.weight": torch.zeros(1)}, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["out", "start"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"features": "mfcc"}, "--features mfcc: it can't be trained"),
        ({"features": "spidr_base", "layer": 6}, "--features spidr_base: it can't be trained"),
        ({"layer": 1, "normalise": "speaker"}, "--normalise speaker: statistics of speakers"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, options, message):
    save_transformers(tmp_path)
    with pytest.raises(EncoderError, match=message):
        TrainableFrontEnd(FeatureConfig(**{"features": str(tmp_path), **options}))
