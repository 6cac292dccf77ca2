"""Which slots of a cache a beam sees, where an utterance's keys and values are kept once for all its beams.

    slot     0 … P-1     P … P+K-1    P+K … P+2K-1   …
             prompt      token 1      token 2
                         of beam 0…K-1

Nothing in the cache ever moves when beams change places: only an additive bias (B, 1, K, slots) is reordered.
"""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sld_user_dir.search.prompt_past import PromptPast

FIRST_ROOM = 32
"""Tokens that there is room for at first; it doubles when it is full."""

EVERY_ROW = slice(None)


class BeamSlots:
    """The slots of B utterances of K beams.

    Args:
        lengths: (B,) tokens of each prompt.
        width: P, slots of a prompt.
        beams: K.

    Attributes:
        steps: tokens that each beam has been given, this step's not counted.
        used: slots that are in use, this step's included.
    """

    def __init__(self, lengths: Tensor, width: int, beams: int):
        self.lengths, self.width, self.beams, self.steps = lengths, width, beams, -1
        at = torch.arange(width, device=lengths.device)
        bias = torch.zeros(len(lengths), width, device=lengths.device)
        bias.masked_fill_(at >= lengths[:, None], float("-inf"))
        self.bias = F.pad(bias[:, None, None].repeat(1, 1, beams, 1), (0, FIRST_ROOM * beams), value=float("-inf"))
        self.room = self.bias.size(3)
        self._within: Dict[Optional[int], Tensor] = {}

    @property
    def used(self) -> int:
        return self.width + (self.steps + 1) * self.beams

    @property
    def positions_of_step(self) -> Tensor:
        """(B, 1) position of this step's tokens."""
        return (self.lengths + self.steps)[:, None]

    def take(self, parents: Tensor) -> None:
        """Slots for one more token a beam; each inherits what its parent (B, K) sees."""
        self.steps += 1
        stop = self.used
        if stop > self.room:
            self.room += self.steps * self.beams
            self.bias = F.pad(self.bias, (0, self.room - self.bias.size(3)), value=float("-inf"))
        past = self.bias[..., self.width : stop - self.beams]  # (B, 1, K, text slots)
        past.copy_(past.gather(2, parents[:, None, :, None].expand_as(past)))
        self.bias[..., stop - self.beams : stop].diagonal(dim1=2, dim2=3).zero_()
        self._within = {}

    def grown(self, cache: Tensor, dim: int) -> Tensor:
        """The cache with room for as many slots in its dimension `dim`."""
        missing = self.room - cache.size(dim)
        return cache if missing <= 0 else F.pad(cache, (0, 0) * (cache.dim() - 1 - dim) + (0, missing))

    def bias_within(self, window: Optional[int]) -> Tensor:
        """(B, 1, K, used) of this step, where a beam sees the last `window` positions up to its own."""
        if window not in self._within:
            bias = self.bias[..., : self.used]
            if window is not None:
                # (B, used): a prompt's slot stands at its number, the text behind the prompt
                prompt = torch.arange(self.width, device=bias.device).expand(len(bias), -1)
                steps = torch.arange(self.steps + 1, device=bias.device).repeat_interleave(self.beams)
                at = torch.cat([prompt, self.lengths[:, None] + steps], 1)
                bias = bias.masked_fill((at <= self.positions_of_step - window)[:, None, None], float("-inf"))
            self._within[window] = bias
        return self._within[window]

    def keep(self, rows: Tensor) -> None:
        """Go on with these utterances only; rows: (B',) indices."""
        self.lengths, self.bias, self._within = self.lengths[rows], self.bias[rows], {}


class SlotCache:
    """Keys and values of all layers in the slots of a batch: what every kind of prompt cache holds.

    Args:
        slots: of the batch.
        past: what the beginning of the prompt has become already, if the batch is one utterance.

    Attributes:
        n_past: tokens of the prompt that were read before.
        keys: of each layer (B, H, D, slots), the layout that few queries read fastest.
        values: (B, H, slots, D).
    """

    def __init__(self, slots: BeamSlots, past: Optional[PromptPast] = None):
        self.slots, self.beams, self.past = slots, slots.beams, past
        self.n_past = 0 if past is None else len(past)
        self.keys: List[Tensor] = []
        self.values: List[Tensor] = []

    @property
    def lengths(self) -> Tensor:
        """(B,) tokens of each prompt."""
        return self.slots.lengths

    def keep(self, rows: Tensor) -> None:
        """Go on with these utterances only; rows: (B',) indices."""
        self.slots.keep(rows)
        for index in range(len(self.keys)):  # one at a time: two copies of one layer, not of all
            self.keys[index] = self.keys[index][rows]
            self.values[index] = self.values[index][rows]

    def _prompt_past(self, prompts: Tensor, logits: Optional[Tensor]) -> Optional[PromptPast]:
        """What the prompt (1, P) has become, for a longer one; None for a batch of several."""
        if len(prompts) != 1:
            return None
        width = prompts.size(1)
        keys, values = [one[..., :width] for one in self.keys], [one[:, :, :width] for one in self.values]
        return PromptPast(prompts[0], keys, values, logits)

    def _logits_of_prompt(self, new: Tensor) -> Tensor:
        """(B, P, V), where the logits of the new tokens are (B, P - n_past, V)."""
        return new if self.past is None or self.past.logits is None else torch.cat([self.past.logits, new], dim=1)

    def _remember_prompt(
        self, k: Tensor, v: Tensor, index: Optional[int] = None, rows: slice = EVERY_ROW
    ) -> Tuple[Tensor, Tensor]:
        """Keep what a layer makes of prompts, with room for what is to come.

        Args:
            k: keys (B', H, T, D) of the tokens that were not read before.
            v: values, likewise.
            index: of the layer; by default the next one.
            rows: which utterances these are, B' of the batch.

        Returns:
            those of the whole prompts, (B', H, P, D) each.
        """
        index = len(self.keys) if index is None else index
        if self.past is not None:
            k = torch.cat([self.past.keys[index].transpose(2, 3), k], dim=2)
            v = torch.cat([self.past.values[index], v], dim=2)
        if index == len(self.keys):
            batch, heads, room = len(self.lengths), k.size(1), self.slots.room
            self.keys.append(k.new_zeros(batch, heads, k.size(3), room))
            self.values.append(v.new_zeros(batch, heads, room, v.size(3)))
        self.keys[index][rows, :, :, : k.size(2)] = k.transpose(2, 3)
        self.values[index][rows, :, : v.size(2)] = v
        return k, v

    def _remember_step(self, index: int, k: Tensor, v: Tensor) -> Tuple[Tensor, Tensor]:
        """Keep what a layer makes of one token a beam, k and v (B, H, K, D).

        Returns:
            all that is kept, keys (B, H, D, slots) and values (B, H, slots, D).
        """
        stop = self.slots.used
        keys, values = self.keys[index][..., :stop], self.values[index][:, :, :stop]
        keys[..., stop - self.beams :] = k.transpose(2, 3)
        values[:, :, stop - self.beams :] = v
        return keys, values

    def _make_room(self, index: int) -> None:
        """Room for this step in a layer."""
        self.keys[index] = self.slots.grown(self.keys[index], 3)
        self.values[index] = self.slots.grown(self.values[index], 2)
