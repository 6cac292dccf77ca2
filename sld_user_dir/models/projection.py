"""From hidden states to logits: a model's output matrix for the fused loss, all its logits for the plain one."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Sequence, Union

import torch
from fairseq.models.transformer import TransformerDecoderBase
from fairseq.modules import AdaptiveSoftmax
from torch import Tensor, nn


class Projection(NamedTuple):
    """The matrix from hidden states to logits, or why there is none to use."""

    weight: Optional[Union[Tensor, List[Tensor]]]
    """(V, d), or matrices (*, d) that make it when they are put above each other"""
    obstacle: str
    """why `weight` is None; else empty"""


def find_projection(model: nn.Module, vocabulary: int) -> Projection:
    """The matrix that turns `model(..., features_only=True)` into logits over `vocabulary` ids.

    `model` may stand in fairseq's wrapper for distributed training.
    """
    obstacle = _obstacle(model, vocabulary)
    if obstacle:
        return Projection(None, obstacle)
    decoder: Any = model.decoder
    in_parts = getattr(decoder, "output_matrices", None)
    return Projection(decoder.output_projection.weight if in_parts is None else in_parts(), "")


def _obstacle(model: nn.Module, vocabulary: int) -> str:
    wrappers = (model, *model.children())
    if any("FullySharded" in type(module).__name__ for module in wrappers):
        return "its parameters are sharded"
    decoder = getattr(model, "decoder", None)
    if decoder is None:
        return "it has no decoder"
    if hasattr(decoder, "output_matrices"):
        rows = sum(map(len, decoder.output_matrices()))
        return _obstacle_of_rows(rows, vocabulary) or _obstacle_of_untied(decoder.tied, wrappers)
    if getattr(decoder, "adaptive_softmax", None) is not None:
        return "it has an adaptive softmax"
    if getattr(type(decoder), "output_layer", None) is not TransformerDecoderBase.output_layer:
        return "its decoder computes logits in a way of its own"
    projection = getattr(decoder, "output_projection", None)
    if type(projection) is not nn.Linear:
        return "its output projection is no plain linear layer"
    if projection.bias is not None:
        return "its output projection has a bias"
    tied = projection.weight is decoder.embed_tokens.weight
    return _obstacle_of_rows(projection.weight.size(0), vocabulary) or _obstacle_of_untied(tied, wrappers)


def _obstacle_of_rows(rows: int, vocabulary: int) -> str:
    return "" if rows == vocabulary else f"its output projection has {rows} rows, not {vocabulary}"


def _obstacle_of_untied(tied: bool, wrappers: Sequence[nn.Module]) -> str:
    if not tied and any(getattr(module, "find_unused_parameters", False) for module in wrappers):
        return "--find-unused-parameters takes its untied output projection for unused"
    return ""


def full_logits(model: nn.Module, outputs: Tensor, vocabulary: int) -> Tensor:
    """Logits (B, L, V) from what `model(...)` returns, `outputs` (B, L, *).

    A model with an adaptive softmax returns hidden states. Its log-probabilities are logits, too:
    their logsumexp is 0.

    Raises:
        ValueError: the model's logits are not those of `vocabulary` ids.
    """
    adaptive = getattr(getattr(model, "decoder", None), "adaptive_softmax", None)
    logits = outputs if adaptive is None else _log_probabilities(adaptive, outputs)
    if logits.size(-1) != vocabulary:
        raise ValueError(f"the model gives {logits.size(-1)} logits, but the vocabulary has {vocabulary} symbols")
    return logits


def _log_probabilities(adaptive: AdaptiveSoftmax, features: Tensor) -> Tensor:
    """What `adaptive.get_log_prob` computes, which has no gradient: it changes a softmax's result in place."""
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    flat = features.reshape(-1, features.size(-1))  # a tied head takes nothing else
    head = adaptive.head(flat).log_softmax(-1, dtype=dtype)
    words, clusters = head.split([adaptive.cutoff[0], len(adaptive.tail)], dim=-1)
    tails = [
        cluster + tail(flat).log_softmax(-1, dtype=dtype)
        for cluster, tail in zip(clusters.split(1, dim=-1), adaptive.tail)
    ]
    return torch.cat([words, *tails], dim=-1).view(*features.shape[:-1], -1)
