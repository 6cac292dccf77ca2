"""A `JointTransformer` over one batch of prompts: the prompt in one forward pass, then one step a token.

An utterance's keys and values are kept once, for all its beams (`search/beam_slots.py`). fairseq2's own incremental
state holds no rows of different lengths, which prompts of speech are. Shapes: B utterances, K beams, H heads, D width
of a head, P longest prompt, d width, V outputs.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

import torch
import torch.nn.functional as F
from fairseq2.models.transformer import StandardMultiheadAttention
from fairseq2.nn import BatchLayout
from torch import Tensor, nn

from sld_user_dir.fairseq2.joint_transformer import JointTransformer, output_matrix
from sld_user_dir.search.beam_slots import BeamSlots, SlotCache
from sld_user_dir.search.ctc_reading import at_least_float32
from sld_user_dir.search.fixed_linear import FixedLinear

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class TransformerCache(SlotCache):
    """A `DecoderSession` whose attention reads kept keys and values.

    Args:
        model: in evaluation mode; `supports` tells which.
        prompts: (B, P) ids, padded on the right.
        lengths: (B,) tokens of each prompt.
        beams: K.
        outputs: only the first `outputs` ids need logits; None for all.
        every_position: `prompt_logits` are wanted, too.
    """

    def __init__(
        self,
        model: JointTransformer,
        prompts: Tensor,
        lengths: Tensor,
        beams: int,
        outputs: Optional[int] = None,
        every_position: bool = False,
    ):
        super().__init__(BeamSlots(lengths, prompts.size(1), beams))
        self.model, self.layers = model, list(model.decoder.layers)
        matrix = output_matrix(model)
        assert matrix is not None  # as `supports` says
        self.project = FixedLinear(matrix[:outputs], None, prompts.size(0) * beams)
        self.positions = _position_table(model)
        positions = torch.arange(prompts.size(1), device=prompts.device)
        x = self._run(prompts, positions, self._attend_prompt)  # (B, P, d)
        self.prompt_logits = self.project(x) if every_position else None
        self.first_logits = self.project(x[torch.arange(len(x), device=x.device), lengths - 1])

    @staticmethod
    def supports(model: nn.Module) -> bool:
        """Whether this class runs the model as its own layers do: nothing is sharded or replaced."""
        return (
            isinstance(model, JointTransformer)
            and output_matrix(model) is not None
            and all(isinstance(layer.self_attn, StandardMultiheadAttention) for layer in _layers(model))
        )

    def step(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Feed tokens (B, K) that continue beams `parents` (B, K); returns logits (B, K, V) of the next ones."""
        self.slots.take(parents)
        for index in range(len(self.keys)):
            self._make_room(index)
        return self.project(self._run(tokens, self.slots.positions_of_step, self._attend_step))

    def _run(self, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """(B, T) ids at positions (B or 1, T) to (B, T, d), by the layers of fairseq2."""
        frontend: Any = self.model.decoder_frontend
        # finished rows may run past the end
        x = frontend.embed(tokens) * frontend.scale + self.positions[positions.clamp(max=len(self.positions) - 1)]
        for index, layer in enumerate(self.layers):
            attention = layer.self_attn
            y = layer.self_attn_layer_norm(x)
            q, k, v = (
                project(y).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
                for project in (attention.q_proj, attention.k_proj, attention.v_proj)
            )  # (B, H, T, D)
            x = x + attention.output_proj(attend(index, q, k, v).transpose(1, 2).flatten(2))
            x = x + layer.ffn(layer.ffn_layer_norm(x))
        return self.model.decoder.layer_norm(x)

    def _attend_prompt(self, index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Padding stands on the right: causal attention keeps it out of the real positions."""
        k, v = self._remember_prompt(k, v)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def _attend_step(self, index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """From one token a beam, to the prompt and all beams' text at once; the bias takes out the others'."""
        keys, values = self._remember_step(index, k, v)
        scores = torch.matmul(q * q.size(-1) ** -0.5, keys) + self.slots.bias_within(None)  # (B, H, K, slots)
        weights = torch.softmax(at_least_float32(scores), dim=-1)
        return torch.matmul(weights.to(scores.dtype), values)


def _layers(model: JointTransformer) -> Any:
    return model.decoder.layers


def _position_table(model: JointTransformer) -> Tensor:
    """(positions, d): what the front end adds to a row without padding, whichever kind its positions are."""
    encoder: Any = model.decoder_frontend.pos_encoder
    nothing = next(model.parameters()).new_zeros(1, model.max_seq_len, encoder.encoding_dim)
    with torch.no_grad():
        return encoder(nothing, BatchLayout.of(nothing))[0]
