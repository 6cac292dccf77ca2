"""fairseq's Transformer decoder with attention by `scaled_dot_product_attention`.

The parameters are fairseq's, with the same names, and so are the numbers up to rounding. What is
saved: the (L, L) mask, the padding mask that is merged with it for every head, the changes between
time-first and batch-first, seven of the eight kernels of the GELU, and the positions of each row.

Padding needs no mask where it stands on the right: no real position can see what comes after it,
and no loss reads the rows of padding themselves. Batches that are padded otherwise, and calls with
anything that this path lacks (incremental decoding, an encoder, ...), run through fairseq's own code.

Packed rows (`packed_attention`) and prefix-LM attention (`prefix_mask`) take this path or none: fairseq's code has no
attention for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from fairseq.distributed import fsdp_wrap
from fairseq.models.transformer import TransformerDecoder
from fairseq.modules import FairseqDropout, MultiheadAttention, gelu_accurate
from fairseq.modules.checkpoint_activations import checkpoint_wrapper
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase
from torch import Tensor, nn

from sld_user_dir.errors import InputError
from sld_user_dir.models.dropout import dropout
from sld_user_dir.models.dropped_attention import dropped_causal_attention
from sld_user_dir.models.packed_attention import Packing
from sld_user_dir.models.prefix_mask import prefix_mask
from sld_user_dir.models.speech_convolution import SpeechConvolution
from sld_user_dir.models.stable_mask import StableMask, with_pseudo_key, without_pseudo_key
from sld_user_dir.models.unit_mixture import UnitMixture
from sld_user_dir.models.unset_buffers import UNSET

PARTS_OF_STOCK_LAYERS_ONLY = ("encoder_attn", "attn_ln", "c_attn", "ffn_layernorm", "w_resid")
"""Optional parts of fairseq's layer that the fast path does not have."""


@dataclass(frozen=True)
class AttentionScope:
    """Which positions see which; by default, each sees those before it in its row."""

    packing: Optional[Packing] = None
    """of a row of several utterances"""
    masks: Tuple[Tensor, ...] = ()
    """of prefix-LM attention: (B, 1, L, L) bool for each group of the packing, or for the batch"""
    log_mass: Optional[Tensor] = None
    """of StableMask: (longest,) by the position in an utterance"""


CAUSAL = AttentionScope()


class CausalDecoderLayer(TransformerDecoderLayerBase):
    """fairseq's decoder layer with a second way through it, for whole batch-first sequences."""

    def fast(self) -> bool:
        """Whether this layer has nothing that the fast path lacks."""
        attention = self.self_attn
        projections = (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj)
        return (
            type(attention) is MultiheadAttention
            and all(type(p) is nn.Linear for p in projections)  # else quantised
            and attention.bias_k is None
            and not (attention.add_zero_attn or getattr(attention, "use_xformers", False))
            and not (self.cross_self_attention or self.onnx_trace)
            and all(getattr(self, name, None) is None for name in PARTS_OF_STOCK_LAYERS_ONLY)
        )

    def forward(
        self, x: Tensor, *args: Any, batch_first: bool = False, scope: AttentionScope = CAUSAL, **kwargs: Any
    ) -> Any:
        """fairseq's interface, time-first; or with `batch_first` (B, L, C) to (B, L, C)."""
        return self._forward_causal(x, scope) if batch_first else super().forward(x, *args, **kwargs)

    forward.computes_as_stock = True  # type: ignore[attr-defined]  # `PromptCache.supports` asks

    def _forward_causal(self, x: Tensor, scope: AttentionScope) -> Tensor:
        before = self.normalize_before
        y = self.self_attn_layer_norm(x) if before else x
        x = x + _drop(self.dropout_module, causal_self_attention(self.self_attn, y, scope))
        x = x if before else self.self_attn_layer_norm(x)
        y = self.final_layer_norm(x) if before else x
        y = _drop(self.activation_dropout_module, activate(self.activation_fn, self.fc1(y)))
        x = x + _drop(self.dropout_module, self.fc2(y))
        return x if before else self.final_layer_norm(x)


class CausalDecoder(TransformerDecoder):
    """fairseq's decoder over `CausalDecoderLayer`; checkpoints are interchangeable both ways.

    Attributes:
        prefix_end: id of the separator whose prompt has prefix-LM attention; None for causal attention
        speech_convolution: over the embeddings of the prompt's units; None for none
        stable_mask: pseudo-scores in the masked half of attention; None for none
    """

    prefix_end: Optional[int] = None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # not on the class, where it would hide the module of that name
        self.speech_convolution: Optional[SpeechConvolution] = None
        self.stable_mask: Optional[StableMask] = None
        if hasattr(self.embed_positions, UNSET):  # still there for its device and type, but not stored
            self.embed_positions.register_buffer(UNSET, torch.zeros(1), persistent=False)

    def upgrade_state_dict_named(self, state_dict: Dict[str, Any], name: str) -> Dict[str, Any]:
        """As fairseq's, without what 0.12.2 adds."""
        upgraded: Dict[str, Any] = super().upgrade_state_dict_named(state_dict, name)
        upgraded.pop(f"{name}.embed_positions.{UNSET}", None)
        return upgraded

    def build_decoder_layer(self, args: Any, no_encoder_attn: bool = False) -> nn.Module:
        """As fairseq's, with the options for activation checkpoints and sharding."""
        cfg = self.cfg
        layer = CausalDecoderLayer(cfg, no_encoder_attn)
        if cfg.checkpoint_activations:
            layer = checkpoint_wrapper(layer, offload_to_cpu=cfg.offload_activations)
        smallest = 0 if cfg.checkpoint_activations else cfg.min_params_to_wrap
        return fsdp_wrap(layer, min_num_params=smallest)

    def forward(
        self,
        prev_output_tokens: Tensor,
        *args: Any,
        src_lengths: Optional[Tensor] = None,
        unit_mixture: Optional[UnitMixture] = None,
        **kwargs: Any,
    ) -> Tuple[Tensor, Dict[str, Any]]:
        """fairseq's; or with more lengths than rows, (1, T) tokens of a packed row to (1, T, V) logits.

        Args:
            unit_mixture: what stands in place of the units; rows are padded on the right then.
        """
        packed = src_lengths is not None and len(src_lengths) > len(prev_output_tokens)
        if not packed and unit_mixture is None:
            return super().forward(prev_output_tokens, *args, src_lengths=src_lengths, **kwargs)
        packing = Packing.of(src_lengths) if packed and src_lengths is not None else None
        return self._forward_fast(prev_output_tokens, packing, unit_mixture, *args, **kwargs)

    forward.computes_as_stock = True  # type: ignore[attr-defined]

    def _forward_fast(
        self,
        tokens: Tensor,
        packing: Optional[Packing],
        unit_mixture: Optional[UnitMixture],
        *,
        features_only: bool = False,
        return_all_hiddens: bool = False,
    ) -> Tuple[Tensor, Dict[str, Any]]:
        if not self.packs():
            raise ValueError("this model can't take packed utterances: it has more than plain attention layers")
        x, extra = self._extract_causal(tokens, packing, unit_mixture)
        return (x if features_only else self.output_layer(x)), extra

    def extract_features(
        self,
        prev_output_tokens: Tensor,
        encoder_out: Optional[Dict[str, List[Tensor]]] = None,
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]] = None,
        full_context_alignment: bool = False,
        alignment_layer: Optional[int] = None,
        alignment_heads: Optional[int] = None,
    ) -> Tuple[Tensor, Dict[str, Any]]:
        """fairseq's: (B, L) tokens to (B, L, C) features; positions of padding hold no meaning."""
        ordinary = encoder_out is None and incremental_state is None and not full_context_alignment
        if ordinary and self._fast() and not self._padded_inside(prev_output_tokens):
            return self._extract_causal(prev_output_tokens)
        switches = (
            ("--prefix-lm", self.prefix_end),
            ("--speech-conv-kernel", self.speech_convolution),
            ("--stable-mask", self.stable_mask),
        )
        for option in (option for option, part in switches if part is not None):
            raise InputError(
                option,
                "no incremental decoding by fairseq's own generator, no padding on the left or inside, no "
                "quantisation noise or scaled attention",
                "decode with --task speech_unit_lm",
            )
        return super().extract_features(
            prev_output_tokens, encoder_out, incremental_state, full_context_alignment, alignment_layer, alignment_heads
        )

    extract_features.computes_as_stock = True  # type: ignore[attr-defined]

    def packs(self) -> bool:
        """Whether this decoder takes packed rows."""
        return self._fast()

    def _fast(self) -> bool:
        # not `in self.layers`, which draws the layers that --decoder-layerdrop drops; .module: FSDP's
        layers = (getattr(layer, "module", layer) for layer in self.layers._modules.values())
        return self.quant_noise is None and all(
            isinstance(layer, CausalDecoderLayer) and layer.fast() for layer in layers
        )

    def _padded_inside(self, tokens: Tensor) -> bool:
        """Whether a real token follows padding: then only a mask can keep padding out."""
        padding = tokens.eq(self.padding_idx)
        return bool((padding[:, :-1] & ~padding[:, 1:]).any())

    def _extract_causal(
        self, tokens: Tensor, packing: Optional[Packing] = None, unit_mixture: Optional[UnitMixture] = None
    ) -> Tuple[Tensor, Dict[str, Any]]:
        scope = AttentionScope(packing, self._masks(tokens, packing), self._log_mass(tokens, packing))
        x = _drop(self.dropout_module, self._embed(tokens, packing, unit_mixture))  # (B, L, C)
        states = [x.transpose(0, 1)]
        for layer in self.layers:
            x = layer(x, batch_first=True, scope=scope)
            states.append(x.transpose(0, 1))  # time-first, as fairseq returns them
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        if self.project_out_dim is not None:
            x = self.project_out_dim(x)
        return x, {"attn": [None], "inner_states": states}

    def _masks(self, tokens: Tensor, packing: Optional[Packing]) -> Tuple[Tensor, ...]:
        if self.prefix_end is None:
            return ()
        groups = [tokens] if packing is None else packing.spread(tokens)
        return tuple(prefix_mask(group, self.prefix_end) for group in groups)

    def _log_mass(self, tokens: Tensor, packing: Optional[Packing]) -> Optional[Tensor]:
        if self.stable_mask is None:
            return None
        longest = tokens.size(1) if packing is None else packing.groups[0][1]
        return self.stable_mask.log_mass(torch.arange(longest, device=tokens.device))

    def _embed(self, tokens: Tensor, packing: Optional[Packing], unit_mixture: Optional[UnitMixture]) -> Tensor:
        """(B, L) to (B, L, C): embeddings of tokens and of positions, the same ones in each utterance."""
        x = self.embed_tokens(tokens)
        if unit_mixture is not None:
            x = unit_mixture.embed(x, tokens, self.embed_tokens.weight)
        if self.embed_scale != 1:
            x = self.embed_scale * x
        if self.project_in_dim is not None:
            x = self.project_in_dim(x)
        x = self.with_speech_context(x, tokens, packing)
        if self.embed_positions is not None:
            longest = tokens.size(1) if packing is None else packing.groups[0][1]
            table = self.embed_positions(tokens.new_full((1, longest), self.padding_idx + 1))  # (1, longest, C)
            x = x + (table if packing is None else table[:, packing.positions])
        return x if self.layernorm_embedding is None else self.layernorm_embedding(x)

    def with_speech_context(self, x: Tensor, tokens: Tensor, packing: Optional[Packing] = None) -> Tensor:
        """Embeddings (B, L, C) of tokens (B, L), with what the convolution over units adds to them."""
        if self.speech_convolution is None:
            return x
        if packing is None:
            return self.speech_convolution(x, tokens)
        return packing.gather(list(map(self.speech_convolution, packing.spread(x), packing.spread(tokens))))


def causal_self_attention(attention: MultiheadAttention, x: Tensor, scope: AttentionScope = CAUSAL) -> Tensor:
    """What fairseq's `attention` makes of (B, L, C) under a causal mask, or of what `scope` says."""
    q, k, v = (projection(x) for projection in (attention.q_proj, attention.k_proj, attention.v_proj))
    if scope.packing is None:
        return attention.out_proj(_attend(attention, q, k, v, next(iter(scope.masks), None), scope.log_mass))
    spread = (scope.packing.spread(part) for part in (q, k, v))
    masks: Sequence[Optional[Tensor]] = scope.masks or (None,) * len(scope.packing.groups)
    attended = [
        _attend(attention, query, key, value, mask, scope.log_mass) for query, key, value, mask in zip(*spread, masks)
    ]
    return attention.out_proj(scope.packing.gather(attended))


def _attend(
    attention: MultiheadAttention,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Optional[Tensor] = None,
    log_mass: Optional[Tensor] = None,
) -> Tensor:
    """(B, L, C) thrice to (B, L, C), for every head; causal, or as a mask (B, 1, L, L) says."""
    shape = (attention.num_heads, attention.head_dim)
    q, k, v = (part.unflatten(-1, shape).transpose(1, 2) for part in (q, k, v))  # each (B, H, L, D)
    p = attention.dropout_module.p if _drops(attention.dropout_module) else 0.0
    if log_mass is None:
        y = _attend_heads(q, k, v, p, mask)
    else:
        keyed = with_pseudo_key(q * attention.scaling, k, v, log_mass[: q.size(2)])
        y = without_pseudo_key(_attend_heads(*keyed, p, scale=1.0))
    return y.transpose(1, 2).flatten(2)


def _attend_heads(
    q: Tensor, k: Tensor, v: Tensor, p: float, mask: Optional[Tensor] = None, scale: Optional[float] = None
) -> Tensor:
    if mask is not None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p, scale=scale)
    if p and q.device.type == "cpu":
        return dropped_causal_attention(q, k, v, p, scale)
    return F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True, scale=scale)


def _drops(module: FairseqDropout) -> bool:
    return module.training or module.apply_during_inference


def _drop(module: FairseqDropout, x: Tensor) -> Tensor:
    return dropout(x, module.p, _drops(module))


def activate(function: Any, x: Tensor) -> Tensor:
    """fairseq's `gelu_accurate` (alias `gelu_fast`) by one kernel instead of eight."""
    return F.gelu(x, approximate="tanh") if function is gelu_accurate else function(x)
