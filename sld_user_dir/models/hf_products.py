"""The matrix products of a pretrained model while its weights do not change: laid out beforehand, adapters added in."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor, nn

from sld_user_dir.search.fixed_linear import FixedLinear


class FixedProducts:
    """A context in which the linear layers of a model multiply by `FixedLinear`.

    Args:
        model: read only; what it computes is the same up to rounding.
        rows: how many vectors are multiplied at once, about.
    """

    def __init__(self, model: nn.Module, rows: int):
        self.products: Dict[nn.Module, FixedLinear] = {}
        inside: set[nn.Module] = set()  # of layers with an adapter
        for module in model.modules():
            found = None if module in inside else effective_weights(module)
            if found is not None:
                inside.update(module.modules())
                self.products[module] = FixedLinear(*found, rows)

    def __enter__(self) -> None:
        for module, product in self.products.items():
            module.forward = product.__call__

    def __exit__(self, *_: Any) -> None:
        for module in self.products:
            del module.forward


@torch.no_grad()
def effective_weights(module: nn.Module) -> Optional[Tuple[Tensor, Optional[Tensor]]]:
    """Weight (out, in) and bias of a linear layer of torch's, of GPT-2's, or of either with an adapter of peft's."""
    layer: Any = module
    if type(module) is nn.Linear:
        return layer.weight, layer.bias
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
        return layer.weight.t(), layer.bias
    base = getattr(module, "base_layer", None)
    found = None if base is None else effective_weights(base)
    if found is None or not hasattr(module, "get_delta_weight"):
        return None
    weight, bias = found
    if layer.merged:
        return found
    delta = sum(layer.get_delta_weight(name) for name in layer.active_adapters)
    return weight + (delta.t() if layer.fan_in_fan_out else delta), bias
