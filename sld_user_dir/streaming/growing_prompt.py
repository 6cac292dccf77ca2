"""A decoder for one stream: what it has read of a prompt stays read when the next, longer one comes.

It stands where any `Decoder` does, so search, CTC and ensembles are those of offline decoding, and so is the text. Each
prompt is compared with the one before: what both begin with is kept, the rest is read in one pass. Units that the
encoder has changed its mind about are therefore read anew, with all that follows them.
"""

from __future__ import annotations

from typing import Any, Optional, cast

from torch import Tensor

from sld_user_dir.search.decoders import DecoderSession, GrowingDecoder, GrowingSession
from sld_user_dir.search.prompt_past import PromptPast


class RememberingDecoder:
    """A decoder that goes on from the prompt before.

    Args:
        decoder: whose sessions tell what their prompts have become; others read each prompt whole.

    Attributes:
        n_read: tokens of prompts that were read so far.
        n_given: tokens of prompts that were given so far.
    """

    def __init__(self, decoder: GrowingDecoder):
        self._decoder = decoder
        self._past: Optional[PromptPast] = None
        self.n_read = self.n_given = 0

    @property
    def max_positions(self) -> float:
        """Tokens that the model can read."""
        return self._decoder.max_positions

    def start(
        self, prompts: Tensor, lengths: Tensor, beams: int, outputs: Optional[int] = None, every_position: bool = False
    ) -> DecoderSession:
        """Read prompts (B, P) of `lengths` (B,); see `Decoder`. Only a batch of one prompt can go on from another."""
        shared = self._shared(prompts, every_position)
        if self._past is not None and shared:
            past = self._past.first(shared)
            session = self._decoder.go_on(past, prompts, lengths, beams, outputs, every_position)
        else:
            session = self._decoder.start(prompts, lengths, beams, outputs, every_position)
        self._past = cast(GrowingSession, session).prompt_past
        self.n_given += prompts.numel()
        self.n_read += prompts.numel() - shared
        return session

    def _shared(self, prompts: Tensor, every_position: bool) -> int:
        """Tokens of the prompt that need not be read again; the last one always is, since its logits are wanted."""
        if self._past is None or len(prompts) != 1 or (every_position and self._past.logits is None):
            return 0
        return min(self._past.shared_with(prompts[0]), prompts.size(1) - 1)


def remember_prompts(generator: Any) -> list[RememberingDecoder]:
    """Let a generator of one stream's prompts go on from each to the next; returns its decoders."""
    decoders = [RememberingDecoder(one) for one in generator.scorer.decoders]
    generator.scorer.decoders = decoders
    return decoders
