"""Attention of transformers' models by functions of ours: within packed rows, and over the cache of a prompt.

The families compute queries, keys and values as they do (rotary positions, norms of queries and keys, grouped heads);
attention itself they look up by the name in their configuration, and hand over what else they were called with. So one
name is registered, and `attend=FUNCTION` in a call of the model says what stands behind it in that call; without, it is
transformers' own by `scaled_dot_product_attention`.

Shapes: H heads of queries, G of keys and values, D width of a head.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sld_user_dir.models.packed_attention import Packing

ATTENTION = "sld_user_dir"

Attend = Callable[..., Tensor]
"""(module, q (B, H, T, D), k (B, G, T, D), v likewise, scaling, sliding window, dropout) to (B, T, H, D)"""

_IGNORED = ("dropout", "position_ids", "is_causal", "use_cache", "output_attentions", "output_hidden_states")
"""Arguments of attention that change nothing here: dropout is handled, positions are in queries and keys."""


def register_attention() -> None:
    """Make the name known to transformers; repeated calls do nothing."""
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface

    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def arguments(attend: Attend, device: torch.device) -> Dict[str, Any]:
    """What to call a model with, so that it attends by `attend`.

    A mask of four dimensions is handed on as it is: so none is made, and this one isn't looked at.
    """
    return {"attend": attend, "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)}


class UnknownAttention(TypeError):
    """A family's attention has a part that the functions here don't know."""


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Optional[Tensor], **kwargs: Any
) -> Tuple[Tensor, Optional[Tensor]]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    attend: Optional[Attend] = kwargs.pop("attend", None)
    if attend is None:
        return sdpa_attention_forward(module, query, key, value, mask, **kwargs)
    scaling, window = kwargs.pop("scaling", None), kwargs.pop("sliding_window", None)
    dropout = float(kwargs.get("dropout") or 0.0)
    unknown = [name for name, given in kwargs.items() if given is not None and name not in _IGNORED]
    if unknown:
        raise UnknownAttention(f"{type(module).__name__} attends with {', '.join(unknown)}")
    scale = query.size(-1) ** -0.5 if scaling is None else float(scaling)
    return attend(module, query, key, value, scale, None if window is None else int(window), dropout), None


def packed_attend(packing: Packing) -> Attend:
    """Attention within each utterance of a packed row."""

    def attend(
        module: nn.Module, q: Tensor, k: Tensor, v: Tensor, scaling: float, window: Optional[int], dropout: float
    ) -> Tensor:
        spread = (packing.spread(part.transpose(1, 2)) for part in (q, k, v))
        attended: List[Tensor] = []
        for parts in zip(*spread):
            queries, keys, values = (part.transpose(1, 2) for part in parts)
            attended.append(causal_attention(queries, keys, values, scaling, window, dropout).transpose(1, 2))
        return packing.gather(attended)

    return attend


def causal_attention(
    q: Tensor, k: Tensor, v: Tensor, scaling: float, window: Optional[int] = None, dropout: float = 0.0
) -> Tensor:
    """(B, H, T, D), (B, G, P, D) twice to (B, H, T, D); each position sees the last `window` up to itself.

    The T queries are of the last of the P positions.
    """
    mask, positions = None, k.size(2)
    if 0 < q.size(2) < positions or (window is not None and window < q.size(2)):
        at = torch.arange(positions, device=q.device)
        own = at[positions - q.size(2) :, None]
        mask = (at <= own) & (at > own - (positions if window is None else window))
    return F.scaled_dot_product_attention(
        q, k, v, mask, dropout, is_causal=mask is None, scale=scaling, enable_gqa=q.size(1) != k.size(1)
    )
