"""A decoder over one batch of prompts: the prompt in one forward pass, then one step a token.

Shapes: B utterances, K beams, H heads, D width of a head, P longest prompt, C width, V outputs.

One tensor of keys and one of values per layer hold an utterance once, for all its beams, in slots that
never move when beams change places (`beam_slots`). Only the bias that says which slots a beam sees is
reordered; it is some thousand times smaller than the keys and values.

fairseq's own incremental state cannot do this: it refuses to take more than one token at a time, and
holds (and at each step copies) a prompt for each beam.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

import torch
import torch.nn.functional as F
from fairseq.models import FairseqLanguageModel
from fairseq.models.transformer import TransformerDecoderBase
from fairseq.modules import MultiheadAttention
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase
from torch import Tensor, nn

from sld_user_dir.models.causal_decoder import PARTS_OF_STOCK_LAYERS_ONLY, activate
from sld_user_dir.models.prefix_mask import prefix_mask
from sld_user_dir.models.stable_mask import softmax_with_mass, with_pseudo_key, without_pseudo_key
from sld_user_dir.search.beam_slots import FIRST_ROOM, BeamSlots, SlotCache
from sld_user_dir.search.ctc_reading import at_least_float32
from sld_user_dir.search.fixed_linear import FixedLinear
from sld_user_dir.search.prompt_past import PromptPast

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class PromptCache(SlotCache):
    """Keys and values of a batch for fairseq's Transformer decoders (`supports` tells which).

    Args:
        model: a fairseq language model; read only, so its weights may change between batches
        prompts: (B, P) ids, padded on the right
        lengths: (B,) tokens of each prompt, at least 1
        beams: K
        outputs: only the first `outputs` rows of the output matrix are multiplied; None for all
        every_position: compute `prompt_logits`
        past: of a single prompt's beginning; only what follows is read

    Attributes:
        first_logits: (B, V), of the token after each prompt
        prompt_logits: (B, P, V), of the token after each position of each prompt, or None
        prompt_past: what a longer prompt goes on from; None of a batch of several, and of a prefix-LM
    """

    def __init__(
        self,
        model: FairseqLanguageModel,
        prompts: Tensor,
        lengths: Tensor,
        beams: int,
        outputs: Optional[int] = None,
        every_position: bool = False,
        past: Optional[PromptPast] = None,
    ):
        self.decoder: TransformerDecoderBase = model.decoder
        super().__init__(BeamSlots(lengths, prompts.size(1), beams), past)
        self.outputs, self.prompt_width = outputs, prompts.size(1)
        self.layers = list(self.decoder.layers)
        rows = prompts.size(0) * beams
        self.products = [_Products(layer, rows) for layer in self.layers]
        projection = self.decoder.output_projection
        self.project = FixedLinear(
            projection.weight[:outputs], None if projection.bias is None else projection.bias[:outputs], rows
        )
        self.position_table: Optional[Tensor] = None
        self.padding = torch.arange(self.prompt_width, device=prompts.device) >= lengths[:, None]  # (B, P)
        separator = getattr(self.decoder, "prefix_end", None)
        self.stable_mask = getattr(self.decoder, "stable_mask", None)
        self.mask = None if separator is None else prefix_mask(prompts, separator)  # (B, 1, P, P)
        self.prompt_logits: Optional[Tensor] = None
        self.first_logits = self._prefill(prompts, every_position)
        # a prefix-LM's prompt sees all of itself, and so must be read anew when it grows
        self.prompt_past = self._prompt_past(prompts, self.prompt_logits) if self.mask is None else None

    @staticmethod
    def supports(model: FairseqLanguageModel) -> Optional[str]:
        """None, or why this class cannot take the model's decoder."""
        decoder = getattr(model, "decoder", None)
        if not isinstance(decoder, TransformerDecoderBase):
            return "its decoder is not fairseq's TransformerDecoder"
        for method in ("forward", "extract_features", "extract_features_scriptable", "output_layer"):
            if _overrides(decoder, TransformerDecoderBase, method):
                return f"its decoder overrides {method}"
        if decoder.adaptive_softmax is not None or not isinstance(decoder.output_projection, nn.Linear):
            return "its output layer is not one matrix"
        if decoder.quant_noise is not None or decoder.cross_self_attention:
            return "quantisation noise or cross+self attention"
        return next((why for why in map(_unsupported_layer, decoder.layers) if why), None)

    def step(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Feed one token a beam.

        Args:
            tokens: (B, K) ids
            parents: (B, K) which beam of the step before each beam goes on from

        Returns:
            (B, K, V) logits of the next token
        """
        self.slots.take(parents)
        x = self._embed(tokens, self.slots.positions_of_step)  # (B, K, C)
        for index in range(len(self.layers)):
            self._make_room(index)
            x = self._layer(index, x, self._attend_step)
        return self._output(x)

    # -- attention: (B, H, T, D) queries, already scaled, keys and values to (B, H, T, D) -------------

    def _attend_prompt(self, index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Padding stands on the right: causal attention, or a prefix, keeps it out of the real positions."""
        keys, values = self._remember_prompt(k, v)
        if self.n_past:
            return self._attend_from_past(q, keys, values)
        if self.stable_mask is not None:
            log_mass = self.stable_mask.log_mass(torch.arange(q.size(2), device=q.device))
            keyed = with_pseudo_key(q, k, v, log_mass)
            return without_pseudo_key(F.scaled_dot_product_attention(*keyed, is_causal=True, scale=1.0))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask, is_causal=self.mask is None, scale=1.0)

    def _attend_from_past(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """From the new tokens (1, H, T, D) of a prompt to all of it, (1, H, P, D)."""
        at = torch.arange(self.n_past, self.prompt_width, device=q.device)
        scores = torch.matmul(q, k.transpose(2, 3))
        scores.masked_fill_(torch.arange(self.prompt_width, device=q.device) > at[:, None], float("-inf"))
        return torch.matmul(self._weights(scores, at[:, None]), v)

    def _attend_last(self, index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """From the last token of each prompt only: T is 1 in what is returned."""
        k, v = self._remember_prompt(k, v)
        at = self.lengths - 1 - self.n_past
        q = q.transpose(1, 2)[torch.arange(q.size(0), device=q.device), at].unsqueeze(2)
        scores = torch.matmul(q, k.transpose(2, 3)).masked_fill_(self.padding[:, None, None], float("-inf"))
        return torch.matmul(self._weights(scores, self._at(self.lengths - 1)), v)

    def _attend_step(self, index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """From one token a beam, to the prompt and all beams' text at once; the bias takes out the others'."""
        keys, values = self._remember_step(index, k, v)
        scores = torch.matmul(q, keys).add_(self.slots.bias_within(None))  # (B, H, K, slots)
        return torch.matmul(self._weights(scores, self._at(self.lengths + self.slots.steps)), values)

    @staticmethod
    def _at(positions: Tensor) -> Tensor:
        """Positions (B,) of one query in each row, beside scores of four dimensions."""
        return positions[:, None, None, None]

    def _weights(self, scores: Tensor, positions: Tensor) -> Tensor:
        """Softmax in float32 at least, as fairseq does, of scores (B, H, T, slots); positions go with (B, H, T, 1)."""
        precise = at_least_float32(scores)
        if self.stable_mask is None:
            return torch.softmax(precise, dim=-1).to(scores.dtype)
        return softmax_with_mass(precise, self.stable_mask.log_mass(positions)).to(scores.dtype)

    # -- the decoder, as TransformerDecoderBase and its layers do it, without dropout -----------------

    def _prefill(self, prompts: Tensor, every_position: bool) -> Tensor:
        """Run the prompts and return the logits after each, (B, V)."""
        x = self._embed(prompts, torch.arange(self.prompt_width, device=prompts.device), is_prompt=True)
        x = x[:, self.n_past :]  # (B, T, C): what was not read before
        last = len(self.layers) - 1
        for index in range(last):
            x = self._layer(index, x, self._attend_prompt)
        if not every_position:
            x = self._layer(
                last, x, self._attend_last, at=self.lengths - 1 - self.n_past
            )  # (B, 1, C): no other is needed
            return self._output(x)[:, 0]
        self.prompt_logits = self._logits_of_prompt(self._output(self._layer(last, x, self._attend_prompt)))
        return self.prompt_logits[torch.arange(len(prompts), device=prompts.device), self.lengths - 1]

    def _embed(self, tokens: Tensor, positions: Tensor, is_prompt: bool = False) -> Tensor:
        """(B, T) ids at positions (B or 1, T), counted from 0, to (B, T, C)."""
        decoder = self.decoder
        x = decoder.embed_scale * decoder.embed_tokens(tokens)
        if decoder.project_in_dim is not None:
            x = decoder.project_in_dim(x)
        if is_prompt and hasattr(decoder, "with_speech_context"):
            x = decoder.with_speech_context(x, tokens)
        if decoder.embed_positions is not None:
            table = self._position_embeddings()
            x = x + table[positions.clamp(max=table.size(0) - 1)]  # finished rows may run past the end
        return x if decoder.layernorm_embedding is None else decoder.layernorm_embedding(x)

    def _position_embeddings(self) -> Tensor:
        """(positions, C): what the module, learned or sinusoidal, adds to a row without padding."""
        needed = self.slots.width + self.slots.steps + 1
        if self.position_table is None or needed > self.position_table.size(0):
            rows = min(needed + FIRST_ROOM, self.decoder.max_positions())
            unpadded = self.lengths.new_full((1, rows), self.decoder.padding_idx + 1)
            self.position_table = self.decoder.embed_positions(unpadded)[0]
        return self.position_table

    def _layer(self, index: int, x: Tensor, attend: Attend, at: Optional[Tensor] = None) -> Tensor:
        """One layer, (B, T, C) to (B, T, C); with `at` (B,), to (B, 1, C) at one position each."""
        layer, products = self.layers[index], self.products[index]
        y = layer.self_attn_layer_norm(x) if layer.normalize_before else x
        q, k, v = (_heads(part, layer.self_attn) for part in products.qkv(y).chunk(3, dim=-1))
        y = attend(index, q, k, v).transpose(1, 2).flatten(2)  # (B, T, C)
        if at is not None:
            x = x[torch.arange(x.size(0), device=x.device), at][:, None]
        x = x + products.out(y)
        if not layer.normalize_before:
            x = layer.self_attn_layer_norm(x)
        y = layer.final_layer_norm(x) if layer.normalize_before else x
        x = x + products.fc2(activate(layer.activation_fn, products.fc1(y)))
        return x if layer.normalize_before else layer.final_layer_norm(x)

    def _output(self, x: Tensor) -> Tensor:
        decoder = self.decoder
        if decoder.layer_norm is not None:
            x = decoder.layer_norm(x)
        if decoder.project_out_dim is not None:
            x = decoder.project_out_dim(x)
        return self.project(x)


def _overrides(module: nn.Module, base: type, method: str) -> bool:
    """Whether a class computes something else than fairseq's; our own fast paths say that they don't."""
    own = getattr(type(module), method)
    return own is not getattr(base, method) and not getattr(own, "computes_as_stock", False)


def _unsupported_layer(layer: nn.Module) -> Optional[str]:
    """None, or what in the layer `PromptCache._layer` does not do."""
    attention = getattr(layer, "self_attn", None)
    if not isinstance(layer, TransformerDecoderLayerBase) or _overrides(layer, TransformerDecoderLayerBase, "forward"):
        return f"a layer is {type(layer).__name__}, not fairseq's TransformerDecoderLayer"
    if not isinstance(attention, MultiheadAttention) or _overrides(attention, MultiheadAttention, "forward"):
        return f"self-attention is {type(attention).__name__}, not fairseq's MultiheadAttention"
    if attention.bias_k is not None or attention.add_zero_attn or getattr(attention, "use_xformers", False):
        return "extra keys in, or xformers', self-attention"
    linear = (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj, layer.fc1, layer.fc2)
    if not all(type(module) is nn.Linear for module in linear):
        return "its linear layers are quantised"
    return next(
        (f"layers have {name}" for name in PARTS_OF_STOCK_LAYERS_ONLY if getattr(layer, name, None) is not None), None
    )


class _Products:
    """The matrix products of a layer; queries, keys and values in one, queries scaled already."""

    def __init__(self, layer: Any, rows: int):
        attention = layer.self_attn
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        scales = (attention.scaling, 1.0, 1.0)
        weight = torch.cat([p.weight * scale for p, scale in zip(projections, scales)])  # (3C, C)
        biases = [p.weight.new_zeros(p.out_features) if p.bias is None else p.bias for p in projections]
        bias = torch.cat([b * scale for b, scale in zip(biases, scales)])
        self.qkv = FixedLinear(weight, bias, rows)
        self.out, self.fc1, self.fc2 = (
            FixedLinear(linear.weight, linear.bias, rows) for linear in (attention.out_proj, layer.fc1, layer.fc2)
        )


def _heads(x: Tensor, attention: MultiheadAttention) -> Tensor:
    """(B, T, C) to (B, H, T, D)."""
    return x.unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(1, 2)
