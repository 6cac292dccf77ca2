"""Sizes of the model, under the names of the `joint_lm` architectures of fairseq's side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Optional

from fairseq2.runtime.config_registry import ConfigRegistrar


@dataclass(kw_only=True)
class JointTransformerConfig:
    """What a model is made of; what is empty is filled in from tokenizer and data of the recipe that makes it."""

    model_dim: int = 768
    """width of hidden states"""

    ffn_inner_dim: int = 3072
    """width within the feed-forward networks"""

    num_layers: int = 12
    """number of decoder layers"""

    num_attn_heads: int = 12
    """number of heads of attention"""

    dropout_p: float = 0.1
    """dropout on embeddings and on what attention and feed-forward networks give"""

    attn_dropout_p: float = 0.1
    """dropout on the weights of attention"""

    max_seq_len: int = 1024
    """longest utterance in tokens: units, separator and text together"""

    sinusoidal_positions: bool = False
    """fixed sinusoidal positions instead of learned ones"""

    scale_embeddings: bool = False
    """multiply embeddings by the square root of the width"""

    tied_embeddings: bool = True
    """share the embedding table with the output projection"""

    vocab_size: int = 0
    """number of symbols; 0: the tokenizer's"""

    pad_idx: Optional[int] = None
    """id of padding; None: the tokenizer's"""

    vocabulary: str = ""
    """fingerprint of the joint vocabulary; empty: the tokenizer's"""

    units: Dict[str, object] = field(default_factory=dict)
    """what made the units that the model is trained on, as a manifest's header states it; empty: the data's"""


def tiny() -> JointTransformerConfig:
    """0.8 M parameters without embeddings: two CPU cores."""
    return JointTransformerConfig(
        model_dim=128,
        ffn_inner_dim=512,
        num_layers=4,
        num_attn_heads=4,
        sinusoidal_positions=True,
        scale_embeddings=True,
    )


def small() -> JointTransformerConfig:
    """19 M parameters without embeddings: one small GPU."""
    return JointTransformerConfig(model_dim=512, ffn_inner_dim=2048, num_layers=6, num_attn_heads=8)


def gpt2_medium() -> JointTransformerConfig:
    """GPT-2 medium's shape: 24 layers, 1,024 wide, 16 heads."""
    return JointTransformerConfig(model_dim=1024, ffn_inner_dim=4096, num_layers=24, num_attn_heads=16)


ARCHITECTURES = {"tiny": tiny, "small": small, "gpt2": JointTransformerConfig, "gpt2_medium": gpt2_medium}


def register_architectures(container: Any) -> None:
    """Register the sizes with fairseq2."""
    arch = ConfigRegistrar(container, JointTransformerConfig)
    for name, make in ARCHITECTURES.items():
        arch(name)(make)
