"""A small model of our own with the interface of the package `spidr`, which asks for a later Python.

As of spidr 0.2.0: `spidr.models.build_model`, `spidr.config.SpidRConfig`, and of a model `feature_extractor`,
`feature_projection`, `student` and `get_intermediate_outputs`. Nothing here is the package's code; the tests that use
it run on the package, too, where it is installed.
"""

import dataclasses
import json
import types
from pathlib import Path

import torch
from torch import nn


@dataclasses.dataclass(frozen=True)
class SpidRConfig:
    """Those settings of the package's that `tests/features/test_spidr.py` gives."""

    extractor_conv_layer_config: list
    encoder_embed_dim: int
    encoder_pos_conv_kernel: int
    encoder_pos_conv_groups: int
    encoder_pos_conv_depth: int
    encoder_num_layers: int
    encoder_num_heads: int
    encoder_ff_interm_features: int
    codebook_size: int
    num_codebooks: int


class Convolution(nn.Module):
    def __init__(self, n_in, n_out, kernel, stride):
        super().__init__()
        self.kernel_size, self.stride = kernel, stride
        self.conv = nn.Conv1d(n_in, n_out, kernel, stride)
        self.norm = nn.LayerNorm(n_out)

    def forward(self, x):
        return nn.functional.gelu(self.norm(self.conv(x).transpose(1, 2)).transpose(1, 2))


class FeatureExtractor(nn.Module):
    def __init__(self, layers):
        super().__init__()
        sizes = [1, *(n_out for n_out, _, _ in layers)]
        self.conv_layers = nn.ModuleList(Convolution(n_in, *layer) for n_in, layer in zip(sizes, layers))

    def forward(self, wave):
        x = wave[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x.transpose(1, 2)


class Positions(nn.Module):
    """One convolution; frames that the mask leaves out count as zeros."""

    def __init__(self, dim, kernel, groups):
        super().__init__()
        self.embed_dim = dim
        self.conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups)

    def forward(self, x, attention_mask=None):
        if attention_mask is not None:
            x = x * attention_mask[:, 0, 0, :, None]
        return nn.functional.gelu(self.conv(x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)

    def forward(self, x, attention_mask):
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=2))
        return nn.functional.scaled_dot_product_attention(q, k, v, attention_mask).transpose(1, 2).flatten(2)


class Block(nn.Module):
    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.attention = Attention(dim, heads)
        self.feed_forward = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x, attention_mask=None):
        x = x + self.attention(x, attention_mask)
        result = self.feed_forward(x)
        return x + result, result


class Student(nn.Module):
    layer_norm_first = True

    def __init__(self, cfg):
        super().__init__()
        dim = cfg.encoder_embed_dim
        self.pos_conv_embed = Positions(dim, cfg.encoder_pos_conv_kernel, cfg.encoder_pos_conv_groups)
        self.layer_norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(
            Block(dim, cfg.encoder_num_heads, cfg.encoder_ff_interm_features) for _ in range(cfg.encoder_num_layers)
        )

    def get_intermediate_outputs(self, x, attention_mask=None):
        x = self.layer_norm(x + self.pos_conv_embed(x, attention_mask))
        results = []
        for layer in self.layers:
            x, result = layer(x, attention_mask)
            results.append(result)
        return results


class SpidR(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.feature_extractor = FeatureExtractor(cfg.extractor_conv_layer_config)
        self.feature_projection = nn.Linear(cfg.extractor_conv_layer_config[-1][0], cfg.encoder_embed_dim)
        self.student = Student(cfg)

    def get_intermediate_outputs(self, waveforms):
        return self.student.get_intermediate_outputs(self.feature_projection(self.feature_extractor(waveforms)))


def build_model(*, cfg=None, model_type=None, checkpoint=None):
    """Of settings, or of a checkpoint with its config.json beside it."""
    if cfg is not None:
        return SpidR(cfg)
    assert model_type in ("spidr", "dinosr")
    model = SpidR(SpidRConfig(**json.loads((Path(checkpoint).parent / "config.json").read_text())["model"]))
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    return model


def modules():
    """What stands in `sys.modules` in place of the package's."""
    package, models, config = (types.ModuleType(name) for name in ("spidr", "spidr.models", "spidr.config"))
    models.build_model, config.SpidRConfig = build_model, SpidRConfig
    return {"spidr": package, "spidr.models": models, "spidr.config": config}
