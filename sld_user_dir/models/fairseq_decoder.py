"""fairseq's language models as decoders of `search.decoders`."""

from __future__ import annotations

import logging
from typing import Any, Optional, Tuple

import torch
import torch.nn.functional as F
from fairseq.models import FairseqLanguageModel
from torch import Tensor

from sld_user_dir.models.prompt_cache import PromptCache
from sld_user_dir.search.decoders import DecoderSession
from sld_user_dir.search.prompt_past import PromptPast

logger = logging.getLogger(__name__)


class FairseqDecoder:
    """A fairseq language model, in evaluation mode, as a `Decoder`.

    Prompts are read in one pass where the decoder's class allows it; else the whole sequence is run again at each step,
    which the log says once. A decoder may name the class of its sessions as `prompt_cache`: one with the arguments of
    `PromptCache`, and with its `supports`.
    """

    def __init__(self, model: FairseqLanguageModel):
        self.model = model
        model.eval()
        kind = getattr(getattr(model, "decoder", None), "prompt_cache", PromptCache)
        why = kind.supports(model)
        self._session: Any = RecomputedPrompts if why else kind
        if why:
            logger.warning("slow decoding, the whole sequence again at each step: %s", why)

    @property
    def max_positions(self) -> float:
        """Tokens that the model can read."""
        return float(self.model.max_positions())

    def start(
        self, prompts: Tensor, lengths: Tensor, beams: int, outputs: Optional[int] = None, every_position: bool = False
    ) -> DecoderSession:
        """Read prompts (B, P) of `lengths` (B,); see `Decoder`."""
        return self._session(self.model, prompts, lengths, beams, outputs, every_position)

    def go_on(
        self,
        past: PromptPast,
        prompts: Tensor,
        lengths: Tensor,
        beams: int,
        outputs: Optional[int],
        all_positions: bool,
    ) -> DecoderSession:
        """Read what follows the past in one prompt (1, P); see `GrowingDecoder`."""
        return self._session(self.model, prompts, lengths, beams, outputs, all_positions, past=past)


class RecomputedPrompts:
    """A session of any language model: the whole sequences are run again at each step."""

    prompt_past: Optional[PromptPast] = None

    def __init__(
        self,
        model: FairseqLanguageModel,
        prompts: Tensor,
        lengths: Tensor,
        beams: int,
        outputs: Optional[int] = None,
        every_position: bool = False,
    ):
        self.model, self.beams, self.outputs, self.lengths = model, beams, outputs, lengths
        self.prompts = prompts
        self.text = prompts.new_empty(prompts.size(0), beams, 0)
        log_probs, lengths = self._log_probs(prompts, lengths)
        self.prompt_logits = log_probs if every_position else None
        self.first_logits = log_probs[torch.arange(len(lengths), device=lengths.device), lengths - 1]

    def step(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Feed tokens (B, K) that continue beams `parents` (B, K); returns (B, K, V) of the next ones."""
        past = self.text.gather(1, parents[..., None].expand(-1, -1, self.text.size(2)))
        self.text = torch.cat([past, tokens[..., None]], dim=2)  # (B, K, T)
        steps = self.text.size(2)
        rows = F.pad(self.prompts, (0, steps), value=self.model.decoder.dictionary.pad())
        rows = rows.repeat_interleave(self.beams, dim=0)  # (B K, P + T)
        lengths = self.lengths.repeat_interleave(self.beams)
        slots = lengths[:, None] + torch.arange(steps, device=rows.device)
        rows = rows.scatter(1, slots, self.text.flatten(0, 1))
        return self._run(rows, lengths + steps).unflatten(0, (-1, self.beams))

    def keep(self, rows: Tensor) -> None:
        """Go on with these utterances only; rows: (B',) indices."""
        self.prompts, self.text, self.lengths = self.prompts[rows], self.text[rows], self.lengths[rows]

    def _run(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Log-probabilities, which serve as logits, after the last token of each row: (rows, V)."""
        log_probs, lengths = self._log_probs(rows, lengths)
        return log_probs[torch.arange(rows.size(0), device=rows.device), lengths - 1]

    def _log_probs(self, rows: Tensor, lengths: Tensor) -> Tuple[Tensor, Tensor]:
        """Log-probabilities after every position, (rows, L, V), and the lengths of what was read."""
        # finished rows may run past the end, which some models put at infinity
        longest = int(min(int(lengths.max()), self.model.max_positions()))
        lengths = lengths.clamp(max=longest)
        dictionary = self.model.decoder.dictionary
        # what stands behind a row does not reach it; as padding it would make fairseq build masks
        rows = rows[:, :longest]
        rows = rows.masked_fill(rows.eq(dictionary.pad()), dictionary.eos())
        log_probs = self.model.get_normalized_probs(self.model(rows), log_probs=True, sample=None)
        return log_probs[..., : self.outputs], lengths
