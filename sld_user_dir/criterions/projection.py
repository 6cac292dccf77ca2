"""Find the output matrix of a model, or the reason why the fused loss can't use it."""

from typing import Any, NamedTuple, Optional

from fairseq.models.transformer import TransformerDecoderBase
from torch import Tensor, nn


class Projection(NamedTuple):
    weight: Optional[Tensor]  # (V, d), or None where there is none to use
    obstacle: str  # then the reason


def find_projection(model: nn.Module, vocabulary: int) -> Projection:
    """The matrix that turns `model(..., features_only=True)` into logits over `vocabulary` ids.

    `model` may stand in fairseq's wrapper for distributed training.
    """
    obstacle = _obstacle(model, vocabulary)
    if obstacle:
        return Projection(None, obstacle)
    decoder: Any = model.decoder
    return Projection(decoder.output_projection.weight, "")


def _obstacle(model: nn.Module, vocabulary: int) -> str:
    wrappers = (model, *model.children())
    if any("FullySharded" in type(module).__name__ for module in wrappers):
        return "its parameters are sharded"
    decoder = getattr(model, "decoder", None)
    if decoder is None:
        return "it has no decoder"
    if getattr(decoder, "adaptive_softmax", None) is not None:
        return "it has an adaptive softmax"
    if getattr(type(decoder), "output_layer", None) is not TransformerDecoderBase.output_layer:
        return "its decoder computes logits in a way of its own"
    projection = getattr(decoder, "output_projection", None)
    if type(projection) is not nn.Linear:
        return "its output projection is no plain linear layer"
    if projection.bias is not None:
        return "its output projection has a bias"
    if projection.weight.size(0) != vocabulary:
        return f"its output projection has {projection.weight.size(0)} rows, not {vocabulary}"
    tied = projection.weight is decoder.embed_tokens.weight
    if not tied and any(getattr(module, "find_unused_parameters", False) for module in wrappers):
        return "--find-unused-parameters takes its untied output projection for unused"
    return ""
