"""A session of any language model: the whole sequences are run again at each step."""

from __future__ import annotations

from typing import Callable, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


class RecomputedSession:
    """What `DecoderSession` asks for, of a model that only reads whole sequences.

    Args:
        run: (rows, L) ids to logits, or log-probabilities, (rows, L, V) after each position.
        prompts: (B, P) ids, padded on the right.
        lengths: (B,) of the prompts.
        beams: K.
        pad: id of padding.
        filler: id that stands in its place: what is behind a row does not reach it, and padding may cost a mask.
        max_positions: tokens that the model reads; what is beyond is cut off.
        outputs: only the first `outputs` ids need logits; None for all.
        every_position: `prompt_logits` are wanted, too.
    """

    def __init__(
        self,
        run: Callable[[Tensor], Tensor],
        prompts: Tensor,
        lengths: Tensor,
        beams: int,
        *,
        pad: int,
        filler: int,
        max_positions: float,
        outputs: Optional[int] = None,
        every_position: bool = False,
    ):
        self._run, self._pad, self._filler, self._max_positions = run, pad, filler, max_positions
        self.beams, self.outputs, self.lengths, self.prompts = beams, outputs, lengths, prompts
        self.text = prompts.new_empty(prompts.size(0), beams, 0)  # (B, K, T)
        logits, lengths = self._logits(prompts, lengths)
        self.prompt_logits = logits if every_position else None
        self.first_logits = logits[torch.arange(len(lengths), device=lengths.device), lengths - 1]

    def step(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Feed tokens (B, K) that continue beams `parents` (B, K); returns (B, K, V) of the next ones."""
        past = self.text.gather(1, parents[..., None].expand(-1, -1, self.text.size(2)))
        self.text = torch.cat([past, tokens[..., None]], dim=2)
        steps = self.text.size(2)
        rows = F.pad(self.prompts, (0, steps), value=self._pad).repeat_interleave(self.beams, dim=0)  # (B K, P + T)
        lengths = self.lengths.repeat_interleave(self.beams)
        slots = lengths[:, None] + torch.arange(steps, device=rows.device)
        logits, lengths = self._logits(rows.scatter(1, slots, self.text.flatten(0, 1)), lengths + steps)
        last = logits[torch.arange(rows.size(0), device=rows.device), lengths - 1]
        return last.unflatten(0, (-1, self.beams))

    def keep(self, rows: Tensor) -> None:
        """Go on with these utterances only; rows: (B',) indices."""
        self.prompts, self.text, self.lengths = self.prompts[rows], self.text[rows], self.lengths[rows]

    def _logits(self, rows: Tensor, lengths: Tensor) -> Tuple[Tensor, Tensor]:
        """Logits after every position, (rows, L, V), and the lengths of what was read."""
        longest = int(min(int(lengths.max()), self._max_positions))  # finished rows may run past the end
        rows = rows[:, :longest]
        logits = self._run(rows.masked_fill(rows.eq(self._pad), self._filler))
        return logits[..., : self.outputs], lengths.clamp(max=longest)
