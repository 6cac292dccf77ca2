"""The last layer of a transformers model at one position of each row: no other is read of a prompt.

The layer is entered twice. First with all positions, up to where it attends: that gives the keys and values, and there
it is left again, before the products that come after. Then with the one position of each row, which attends to them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Callable, Optional

import torch
from torch import Tensor, nn

from sld_user_dir.models.hf_attention import Attend
from sld_user_dir.search.ctc_reading import at_least_float32


class _KeysAreThere(Exception):
    """Leaves a layer once its keys and values are known."""


class LastLayerOnce:
    """A context in which a model's last layer computes the positions `at` alone; its output there stands at every one.

    Args:
        model: its layers stand in one list.
        layers: how many it has.
        at: (B,) positions.
    """

    def __init__(self, model: nn.Module, layers: int, at: Tensor):
        lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == layers]
        self.layer, self.at = lists[0][layers - 1], at
        self.rows = torch.arange(len(at), device=at.device)

    def __enter__(self) -> None:
        self.original = self.layer.forward
        self.layer.forward = self._forward

    def __exit__(self, *_: Any) -> None:
        del self.layer.forward

    def _forward(self, x: Tensor, *args: Any, attend: Optional[Attend] = None, **kwargs: Any) -> Any:
        assert attend is not None
        whole: Callable[..., Tensor] = attend
        keys = values = x

        def leave(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, *how: Any) -> Tensor:
            nonlocal keys, values
            whole(module, q[:, :, :0], k, v, *how)  # which remembers them
            keys, values = k, v
            raise _KeysAreThere

        def attend_one(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, *how: Any) -> Tensor:
            return attend_from(q, keys, values, self.at, how[0], how[1])

        with suppress(_KeysAreThere):
            self.original(x, *args, attend=leave, **kwargs)
        width = x.size(1)
        one = [self._one(value, width) for value in (x, *args)]
        named = {name: self._one(value, width) for name, value in kwargs.items()}
        y = self.original(*one, attend=attend_one, **named)
        y = y[0] if isinstance(y, tuple) else y
        return y.expand(-1, width, -1)

    def _one(self, value: Any, width: int) -> Any:
        """What the layer is given, at the one position of each row where it is given something for each position."""
        if isinstance(value, tuple):
            return tuple(self._one(part, width) for part in value)
        if not isinstance(value, Tensor) or value.dim() < 2 or value.size(1) != width:
            return value
        return value.expand(len(self.at), *value.shape[1:])[self.rows, self.at].unsqueeze(1)


def attend_from(q: Tensor, k: Tensor, v: Tensor, at: Tensor, scaling: float, window: Optional[int]) -> Tensor:
    """Queries (B, H, 1, D) of positions `at` (B,), keys and values (B, G, P, D), to (B, 1, H, D)."""
    slots = torch.arange(k.size(2), device=k.device)
    hidden = slots > at[:, None]  # (B, P)
    if window is not None:
        hidden |= slots <= at[:, None] - window
    queries = (q * scaling).unflatten(1, (k.size(1), -1)).flatten(2, 3)  # (B, G, H/G, D)
    scores = torch.matmul(queries, k.transpose(2, 3)).masked_fill_(hidden[:, None, None], float("-inf"))
    weights = torch.softmax(at_least_float32(scores), dim=-1).to(scores.dtype)
    return torch.matmul(weights, v).flatten(1, 2)[:, None]
