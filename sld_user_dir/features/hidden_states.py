"""Hidden states of several layers in one pass through a model, by hooks on its transformer blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence

if TYPE_CHECKING:
    from torch import Tensor


def first_of(value: Any) -> Any:
    """What a block takes or gives, where attention weights and the like may stand behind it."""
    return value[0] if isinstance(value, tuple) else value


def hidden_states(
    run: Callable[[], Tensor], blocks: Any, layers: Sequence[int], state_of: Optional[Callable[[Any], Any]] = None
) -> list[Tensor]:
    """The states (B, T, D) of layers, in their order.

    Args:
        run: the pass, which gives the output of the last block.
        blocks: an `nn.ModuleList`; layer L is the output of the L-th, 0 the input of the first.
        state_of: of the first argument of a block, or of all it gives; default: `first_of`.
    """
    found: dict[int, Tensor] = {}
    pick = state_of or first_of
    handles = []

    def record(layer: int, value: Any) -> None:
        found[layer] = pick(value)

    for layer in set(layers):
        if layer:
            handles.append(blocks[layer - 1].register_forward_hook(lambda _, __, out, at=layer: record(at, out)))
        elif len(blocks):
            handles.append(blocks[0].register_forward_pre_hook(lambda _, args: record(0, args[0])))
    try:
        last = run()
    finally:
        for handle in handles:
            handle.remove()
    return [found.get(layer, last)[:, : last.shape[1]] for layer in layers]
