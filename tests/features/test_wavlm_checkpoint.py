"""Microsoft's form of WavLM: the same frames, and the same name, as Hugging Face's form of the same model."""

import re
import sys

import numpy as np
import pytest
import torch
from support.encoders import SHAPE, noise, save_transformers

from sld_user_dir.features.encoders.wavlm_checkpoint import convolution_layers
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, source_of
from sld_user_dir.features.front_end import build_front_end

CONVOLUTIONS = "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2"
MICROSOFTS = [
    (r"feature_projection\.layer_norm", "layer_norm"),
    (r"feature_projection\.projection", "post_extract_proj"),
    (r"pos_conv_embed\.conv\.parametrizations\.weight\.original0", "pos_conv.0.weight_g"),
    (r"pos_conv_embed\.conv\.parametrizations\.weight\.original1", "pos_conv.0.weight_v"),
    (r"pos_conv_embed\.conv", "pos_conv.0"),
    (r"attention\.gru_rel_pos_linear", "self_attn.grep_linear"),
    (r"attention\.gru_rel_pos_const", "self_attn.grep_a"),
    (r"attention\.rel_attn_embed", "self_attn.relative_attention_bias"),
    (r"attention", "self_attn"),
    (r"(layers\.\d+)\.layer_norm", r"\1.self_attn_layer_norm"),
    (r"feed_forward\.intermediate_dense", "fc1"),
    (r"feed_forward\.output_dense", "fc2"),
    (r"masked_spec_embed", "mask_emb"),
]


def microsofts_name(name, prenorm):
    """Microsoft's name of a weight of transformers."""
    if name.startswith("feature_extractor"):
        name = name.replace(".conv.", ".0.")
        return name.replace(".layer_norm.", ".2.1." if prenorm else ".2.")  # between two transpositions, or alone
    for pattern, replacement in MICROSOFTS:
        name, found = re.subn(pattern, replacement, name, count=1)
        if found:
            return name
    return name


def save_microsofts(path, prenorm, **changes):
    """A random model in both forms: Hugging Face's in the folder of `path`, Microsoft's at `path`."""
    twin = save_transformers(path.parent, "wavlm", prenorm)
    cfg = {
        "extractor_mode": "layer_norm" if prenorm else "default",
        "encoder_layers": SHAPE["num_hidden_layers"],
        "encoder_embed_dim": SHAPE["hidden_size"],
        "encoder_ffn_embed_dim": SHAPE["intermediate_size"],
        "encoder_attention_heads": SHAPE["num_attention_heads"],
        "activation_fn": "gelu",
        "layer_norm_first": prenorm,
        "conv_feature_layers": CONVOLUTIONS,
        "conv_bias": False,
        "normalize": prenorm,
        "conv_pos": SHAPE["num_conv_pos_embeddings"],
        "conv_pos_groups": SHAPE["num_conv_pos_embedding_groups"],
        "relative_position_embedding": True,
        "num_buckets": 320,
        "max_distance": 800,
        "gru_rel_pos": True,
        "dropout": 0.1,
    }
    weights = {microsofts_name(name, prenorm): value for name, value in twin.state_dict().items()}
    torch.save({"cfg": {**cfg, **changes.pop("cfg", {})}, "model": {**weights, **changes}}, path)
    return path


def front_end(where, layer):
    return build_front_end(FeatureConfig(features=str(where), layer=layer), "cpu")


@pytest.mark.parametrize("prenorm", [False, True])  # WavLM-Base and Base+; WavLM-Large
def test_both_forms_give_the_same_frames_and_the_same_name(tmp_path, prenorm):
    path = save_microsofts(tmp_path / "WavLM.pt", prenorm)
    for layer in (0, 1, 2, 3):
        microsofts, twin = front_end(path, layer), front_end(tmp_path, layer)
        assert microsofts.encoder == twin.encoder and (":wavenorm" in twin.encoder) == prenorm
        np.testing.assert_array_equal(microsofts(noise(8000)), twin(noise(8000)))


def test_it_is_read_without_fairseq(tmp_path, monkeypatch):
    path = save_microsofts(tmp_path / "WavLM.pt", True)
    monkeypatch.setitem(sys.modules, "sld_user_dir.models.fairseq_encoders", None)
    assert "Microsoft" in source_of(str(path)).name
    assert front_end(path, 1).dim == 32


def test_old_archives_are_read_too(tmp_path):
    path = save_microsofts(tmp_path / "WavLM.pt", False)
    torch.save(torch.load(path, weights_only=True), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert front_end(tmp_path / "old.pt", 2).encoder == front_end(path, 2).encoder


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"cfg": {"encoder_layers": 4}}, "missing, unknown, or of another shape .*: encoder.layers.3.attention"),
        ({"cfg": {"conv_pos": 8}}, "of another shape than 'cfg' says: encoder.pos_conv_embed"),
        ({"cfg": {"conv_feature_layers": "[(16,10,5)] + print()"}}, "its 'cfg' is not that of WavLM"),
        ({"encoder.layers.0.adapter": torch.ones(2)}, "weights that are missing, unknown.*encoder.layers.0.adapter"),
    ],
)
def test_checkpoints_that_are_not_whole_are_named(tmp_path, changes, message):
    path = save_microsofts(tmp_path / "WavLM.pt", False, **changes)
    with pytest.raises(EncoderError, match=message):
        front_end(path, 1)


def test_a_layer_that_is_not_there(tmp_path):
    path = save_microsofts(tmp_path / "WavLM.pt", False)
    with pytest.raises(EncoderError, match=r"--layer 4: .*WavLM\.pt has layers 0 to 3"):
        front_end(path, 4)


def test_convolutions_are_parsed_not_evaluated():
    assert convolution_layers(CONVOLUTIONS) == [(16, 10, 5), *[(16, 3, 2)] * 4, *[(16, 2, 2)] * 2]
