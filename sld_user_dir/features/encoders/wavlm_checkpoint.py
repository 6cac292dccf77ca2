"""WavLM as Microsoft stores it (`WavLM-Large.pt`, `WavLM-Base+.pt`): plain settings under `cfg`, weights under `model`.

It is brought to Hugging Face's form, so that both forms of a model give the same frames and the same name in the
provenance. In both the waveform is normalised with 1e-7 added to its variance; Microsoft's README adds 1e-5, which
shows only in recordings whose standard deviation is below 0.01 or so.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld_user_dir.features.checkpoint_file import checkpoint_contents, load_plain
from sld_user_dir.features.encoders.wav2vec2_family import TransformersBackend
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, FrameEncoder, register_encoder
from sld_user_dir.features.pretrained import require_transformers

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE_HZ = 16000
SIGN = "encoder.layers.0.self_attn.grep_linear.weight"  # the gate of the relative positions: WavLM's own
UNUSED = re.compile(r"mask_emb|final_proj\.|label_embs_concat")  # of pre-training
RENAMED = (
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.2\.(1\.)?", r"\1.layer_norm."),
    (r"\.pos_conv\.0\.weight_g$", ".pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"\.pos_conv\.0\.weight_v$", ".pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"\.pos_conv\.0\.", ".pos_conv_embed.conv."),
    (r"\.self_attn\.grep_linear\.", ".attention.gru_rel_pos_linear."),
    (r"\.self_attn\.grep_a$", ".attention.gru_rel_pos_const"),
    (r"\.self_attn\.relative_attention_bias\.", ".attention.rel_attn_embed."),
    (r"\.self_attn\.", ".attention."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)


def transformers_name(name: str) -> str:
    """Name that transformers' WavLMModel has for one of Microsoft's weights."""
    for pattern, replacement in RENAMED:
        new, found = re.subn(pattern, replacement, name)
        if found:
            return new
    return name


def convolution_layers(text: str) -> list[tuple[int, int, int]]:
    """Channels, kernel and stride of each convolution: `[(512,10,5)] + [(512,3,2)] * 4` without evaluating it."""
    layers: list[tuple[int, int, int]] = []
    for term in text.split("+"):
        part, _, times = term.partition("*")
        layers += list(ast.literal_eval(part.strip())) * int(times or 1)
    return layers


def transformers_config(cfg: dict[str, Any]) -> dict[str, Any]:
    """Settings of transformers' WavLMConfig for Microsoft's."""
    channels, kernels, strides = zip(*convolution_layers(cfg["conv_feature_layers"]))
    return {
        "hidden_size": cfg["encoder_embed_dim"],
        "num_hidden_layers": cfg["encoder_layers"],
        "num_attention_heads": cfg["encoder_attention_heads"],
        "intermediate_size": cfg["encoder_ffn_embed_dim"],
        "hidden_act": cfg["activation_fn"],
        "feat_extract_norm": "layer" if cfg["extractor_mode"] == "layer_norm" else "group",
        "do_stable_layer_norm": cfg["layer_norm_first"],
        "conv_dim": channels,
        "conv_kernel": kernels,
        "conv_stride": strides,
        "conv_bias": cfg["conv_bias"],
        "num_conv_pos_embeddings": cfg["conv_pos"],
        "num_conv_pos_embedding_groups": cfg["conv_pos_groups"],
        "num_buckets": cfg["num_buckets"],
        "max_bucket_distance": cfg["max_distance"],
    }


def wavlm_backend(name: str, layer: int) -> TransformersBackend:
    """Of a checkpoint in Microsoft's form.

    Raises:
        EncoderError: settings or weights that WavLM has are missing, or differ in shape.
    """
    from transformers import WavLMConfig, WavLMModel

    state = load_plain(Path(name))
    try:
        model = WavLMModel(WavLMConfig(**transformers_config(state["cfg"])))
        normalised = bool(state["cfg"]["normalize"])
    except (KeyError, TypeError, ValueError, SyntaxError) as error:
        problem = f"its 'cfg' is not that of WavLM ({type(error).__name__}: {error})"
        raise EncoderError(name, problem, "give a checkpoint as Microsoft published it") from error
    weights: dict[str, Tensor] = {
        transformers_name(key): value.float() for key, value in state["model"].items() if not UNUSED.match(key)
    }
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items() if key != "masked_spec_embed"}
    wrong = sorted(key for key in wanted if key not in weights or tuple(weights[key].shape) != wanted[key])
    wrong += sorted(set(weights) - set(wanted))
    if wrong:
        problem = f"weights that are missing, unknown, or of another shape than 'cfg' says: {', '.join(wrong[:3])}"
        raise EncoderError(name, problem, "give a checkpoint as Microsoft published it")
    model.load_state_dict(weights, strict=False)  # without the mask's embedding
    return TransformersBackend(name, layer, model.eval(), SAMPLE_RATE_HZ, normalised)


def is_wavlm_checkpoint(features: str) -> bool:
    """A `.pt` file with settings and WavLM's weights."""
    contents = checkpoint_contents(features)
    return contents is not None and "cfg" in contents.keys and SIGN in contents.weights


@register_encoder("a WavLM checkpoint of Microsoft ending in .pt", claims=is_wavlm_checkpoint, sums_layers=True)
def load(config: FeatureConfig, device: str, batch_seconds: float) -> FrameEncoder:
    """WavLM in Microsoft's form."""
    from sld_user_dir.features.chunked_encoder import load_chunked_encoder

    require_transformers(config.features)
    return load_chunked_encoder(wavlm_backend, config, device, batch_seconds)
