"""Makes models of the family `joint_transformer`, and registers it with fairseq2."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from fairseq2.checkpoint import CheckpointDir
from fairseq2.composition import register_model_family
from fairseq2.data.tokenizers import Tokenizer
from fairseq2.models.transformer import (
    CausalAttentionBias,
    StandardFeedForwardNetwork,
    StandardMultiheadAttention,
    TransformerEmbeddingFrontend,
    TransformerNormOrder,
    create_default_sdpa,
)
from fairseq2.models.transformer_lm import (
    StandardTransformerLMDecoder,
    StandardTransformerLMDecoderLayer,
    TransformerLMDecoderLayer,
    apply_ac_to_transformer_lm,
    apply_fsdp_to_transformer_lm,
)
from fairseq2.nn import (
    LearnedPositionEncoder,
    Linear,
    Projection,
    SinusoidalPositionEncoder,
    StandardEmbedding,
    StandardLayerNorm,
    TiedProjection,
)
from torch import nn

from sld_user_dir.errors import InputError
from sld_user_dir.fairseq2.joint_transformer import JointTransformer
from sld_user_dir.fairseq2.joint_transformer_config import JointTransformerConfig, register_architectures
from sld_user_dir.fairseq2.model_origin import refuse_other_origin, stored_config
from sld_user_dir.fairseq2.state_names import from_fairseq
from sld_user_dir.fairseq2.unit_manifests import UnitManifests, stored_units, units_to_store
from sld_user_dir.fairseq2.unit_tokenizer import UnitTokenizer

FAMILY = "joint_transformer"
FAIRSEQ_PAD = 1
"""fairseq's positions begin behind it."""


def create_for_recipe(resolver: Any, config: JointTransformerConfig) -> JointTransformer:
    """A model for the tokenizer and the data of a recipe; outside recipes, for what the configuration states.

    Raises:
        InputError: a stored model, or a run that goes on, of another vocabulary or other units.
    """
    tokenizer = resolver.maybe_resolve(Tokenizer, key="tokenizer")
    if isinstance(tokenizer, UnitTokenizer):
        fill_in(config, tokenizer, resolver.maybe_resolve(object, key="dataset"))
        refuse_other_run(resolver, config)
    return create_joint_transformer(config)


def refuse_other_run(resolver: Any, config: JointTransformerConfig) -> None:
    """A training that goes on must have the units and the vocabulary that it began with.

    Raises:
        InputError: names both sides.
    """
    out, chosen = resolver.maybe_resolve(Path), resolver.maybe_resolve(CheckpointDir)
    folder = chosen.path if chosen is not None and chosen.path is not None else out and out / "checkpoints"
    if folder is not None and (folder / "model.yaml").is_file():
        stored = stored_config(folder)
        refuse_other_origin(folder, stored["vocabulary"], stored["units"], config)


def fill_in(config: JointTransformerConfig, tokenizer: UnitTokenizer, dataset: Optional[object]) -> None:
    """State vocabulary and units in the configuration, which fairseq2 writes beside the checkpoints.

    Raises:
        InputError: it states another vocabulary.
    """
    vocab = tokenizer.vocab
    if config.vocabulary not in ("", vocab.fingerprint):
        problem = f"its vocabulary is {config.vocabulary}, but the tokenizer's is {vocab.fingerprint}"
        raise InputError("the model", problem, "use the dict.txt and vocab.json it was trained with")
    config.vocab_size, config.pad_idx, config.vocabulary = len(vocab), vocab.pad, vocab.fingerprint
    if isinstance(dataset, UnitManifests) and dataset.provenance is not None and not config.units:
        config.units = units_to_store(dataset.provenance)


def create_joint_transformer(config: JointTransformerConfig) -> JointTransformer:
    """A model with random weights."""
    if config.vocab_size < 1:
        raise InputError("the model", "its vocabulary has no size", "set tokenizer.family to joint_vocabulary")
    embed = StandardEmbedding(config.vocab_size, config.model_dim, config.pad_idx, init_fn=_init_embedding)
    frontend = TransformerEmbeddingFrontend(
        config.model_dim,
        embed,
        _position_encoder(config),
        no_scale=not config.scale_embeddings,
        dropout_p=config.dropout_p,
    )
    layers = [_decoder_layer(config) for _ in range(config.num_layers)]
    decoder = StandardTransformerLMDecoder(layers, StandardLayerNorm(config.model_dim, bias=True))
    projection: Projection = TiedProjection(embed.weight, bias=None)
    if not config.tied_embeddings:
        projection = Linear(config.model_dim, config.vocab_size, bias=False, init_fn=_init_projection)
    units = stored_units(config.units)
    return JointTransformer(frontend, decoder, projection, config.pad_idx, config.max_seq_len, units)


def _position_encoder(config: JointTransformerConfig) -> Any:
    if config.sinusoidal_positions:
        return SinusoidalPositionEncoder(config.model_dim, config.max_seq_len, _legacy_pad_idx=FAIRSEQ_PAD)
    return LearnedPositionEncoder(config.model_dim, config.max_seq_len)


def _decoder_layer(config: JointTransformerConfig) -> TransformerLMDecoderLayer:
    sdpa = create_default_sdpa(CausalAttentionBias(), dropout_p=config.attn_dropout_p)
    return StandardTransformerLMDecoderLayer(
        StandardMultiheadAttention(config.model_dim, config.num_attn_heads, sdpa),
        StandardLayerNorm(config.model_dim, bias=True),
        StandardFeedForwardNetwork(
            config.model_dim, config.ffn_inner_dim, bias=True, inner_activation=nn.GELU(approximate="tanh")
        ),
        StandardLayerNorm(config.model_dim, bias=True),
        norm_order=TransformerNormOrder.PRE,
        dropout_p=config.dropout_p,
    )


def _init_embedding(embed: StandardEmbedding) -> None:
    nn.init.normal_(embed.weight, std=embed.embed_dim**-0.5)
    if embed.pad_idx is not None:
        nn.init.zeros_(embed.weight[embed.pad_idx])


def _init_projection(projection: Linear) -> None:
    nn.init.normal_(projection.weight, std=projection.input_dim**-0.5)


def register(container: Any) -> None:
    """Register the family and its architectures with fairseq2."""
    register_model_family(
        container,
        FAMILY,
        JointTransformer,
        JointTransformerConfig,
        advanced_factory=create_for_recipe,
        state_dict_converter=from_fairseq,
        fsdp_applier=apply_fsdp_to_transformer_lm,
        layerwise_ac_applier=apply_ac_to_transformer_lm,
    )
    register_architectures(container)
