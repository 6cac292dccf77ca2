"""A pretrained Hugging Face model over one batch of prompts: the prompt in one forward pass, then one step a token.

The layout is that of `prompt_cache`: an utterance's keys and values are kept once, for all its beams, and never move.
The layers are transformers' own; a step is a call of the model on a row of K tokens, one a beam, whose attention is
replaced (`hf_attention`). Shapes: B utterances, K beams, H heads of queries, G of keys and values, D width of a head, P
longest prompt, V outputs.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sld_user_dir.models.hf_attention import arguments, causal_attention
from sld_user_dir.models.hf_products import FixedProducts
from sld_user_dir.models.last_layer import LastLayerOnce
from sld_user_dir.search.beam_slots import BeamSlots, SlotCache
from sld_user_dir.search.ctc_reading import at_least_float32
from sld_user_dir.search.fixed_linear import FixedLinear
from sld_user_dir.search.prompt_past import PromptPast

TOKENS_AT_ONCE = 512
"""Of a batch's prompts on a CPU: what the layers make of these stays in its cache. At least one utterance is read."""


class HFPromptCache(SlotCache):
    """A session of a model of `joint_hf`; the arguments and attributes are those of `PromptCache`."""

    def __init__(
        self,
        model: Any,
        prompts: Tensor,
        lengths: Tensor,
        beams: int,
        outputs: Optional[int] = None,
        every_position: bool = False,
        past: Optional[PromptPast] = None,
    ):
        super().__init__(BeamSlots(lengths, prompts.size(1), beams), past)
        self.decoder = model.decoder
        rows = prompts.size(0) * beams
        self.products = FixedProducts(self.decoder.backbone, rows)
        matrix = torch.cat(self.decoder.output_matrices())[:outputs]
        self.project = FixedLinear(matrix, None, rows)
        x = self._read(prompts[:, self.n_past :], every_position)
        new_logits = self.project(x) if every_position else None
        at = torch.arange(len(prompts), device=prompts.device), lengths - 1 - self.n_past
        self.first_logits = self.project(x[:, 0]) if new_logits is None else new_logits[at]
        self.prompt_logits = None if new_logits is None else self._logits_of_prompt(new_logits)
        self.prompt_past = self._prompt_past(prompts, self.prompt_logits)

    @staticmethod
    def supports(model: Any) -> Optional[str]:
        """None, or why this class cannot take the model's decoder."""
        obstacle: Optional[str] = model.decoder.attention_obstacle
        return obstacle

    def step(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Feed tokens (B, K) that continue beams `parents` (B, K); returns logits (B, K, V) of the next ones."""
        self.slots.take(parents)
        for index in range(len(self.keys)):
            self._make_room(index)
        x = self._run(tokens, self.slots.positions_of_step.expand_as(tokens), self._attend_step)
        return self.project(x)

    def _read(self, prompts: Tensor, every_position: bool) -> Tensor:
        """(B, T) tokens to hidden states (B, T, d), or (B, 1, d) of the last of each prompt."""
        last = self.lengths - 1 - self.n_past
        utterances = max(1, TOKENS_AT_ONCE // prompts.size(1)) if prompts.device.type == "cpu" else len(prompts)
        read = []
        for first in range(0, len(prompts), utterances):
            self.rows = slice(first, first + utterances)
            at = last[self.rows]
            tokens = prompts[self.rows, : int(at.max()) + 1]
            positions = self.n_past + torch.arange(tokens.size(1), device=tokens.device)[None]
            whole = every_position or self.n_past > 0  # what follows a past is too short to save anything
            once = nullcontext() if whole else LastLayerOnce(self.decoder.backbone, self.decoder.num_layers, at)
            with once:
                x = self._run(tokens, positions, self._attend_prompt)  # (B', T', d)
            each = torch.arange(len(at), device=at.device)
            read.append(F.pad(x, (0, 0, 0, prompts.size(1) - x.size(1))) if every_position else x[each, at][:, None])
        return torch.cat(read)

    def _run(self, tokens: Tensor, positions: Tensor, attend: Any) -> Tensor:
        """(B, T) tokens at positions to (B, T, d) hidden states."""
        x = self.decoder.embed_tokens(tokens)
        # finished rows may run past the end, which learned positions have not
        positions = positions.clamp(max=self.decoder.max_positions() - 1)
        how = arguments(attend, x.device)
        with self.products:
            return self.decoder.backbone(inputs_embeds=x, position_ids=positions, use_cache=False, **how)[0]

    # -- attention: q (B, H, T, D), k and v (B, G, T, D) to (B, T, H, D) ---------------------------------------

    def _attend_prompt(
        self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, scaling: float, window: Optional[int], dropout: float
    ) -> Tensor:
        """Padding stands on the right: causal attention keeps it out of the real positions."""
        index: Any = module.layer_idx
        k, v = self._remember_prompt(k, v, index, self.rows)
        return causal_attention(q, k, v, scaling, window).transpose(1, 2)

    def _attend_step(
        self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, scaling: float, window: Optional[int], dropout: float
    ) -> Tensor:
        """From one token a beam, to the prompt and all beams' text at once; the bias takes out the others'."""
        index: Any = module.layer_idx
        keys, values = self._remember_step(index, k, v)
        groups = k.size(1)
        queries = (q * scaling).unflatten(1, (groups, -1)).flatten(2, 3)  # (B, G, H/G K, D)
        scores = torch.matmul(queries, keys).unflatten(2, (-1, self.beams))  # (B, G, H/G, K, slots)
        scores += self.slots.bias_within(window)[:, :, None]
        weights = torch.softmax(at_least_float32(scores), dim=-1).to(scores.dtype)
        found = torch.matmul(weights.flatten(2, 3), values)  # (B, G, H/G K, D)
        return found.unflatten(2, (-1, self.beams)).flatten(1, 2).transpose(1, 2)
