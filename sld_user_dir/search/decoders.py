"""What search asks of a model: a decoder that takes prompts, then goes on token by token.

A framework's models are put behind these two classes by an adapter, as `models/generation.py` does for fairseq's.
Shapes: B utterances, K beams, P longest prompt, V outputs.
"""

from __future__ import annotations

from typing import Optional, Protocol

from torch import Tensor

from sld_user_dir.search.prompt_past import PromptPast


class DecoderSession(Protocol):
    """A decoder over one batch of prompts."""

    first_logits: Tensor
    """(B, V), of the token after each prompt."""
    prompt_logits: Optional[Tensor]
    """(B, P, V), of the token after each position of each prompt, where they were asked for."""

    def step(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Feed tokens (B, K) that continue beams `parents` (B, K); returns logits (B, K, V) of the next ones."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these utterances only; rows: (B',) indices."""


class Decoder(Protocol):
    """A decoder-only language model."""

    @property
    def max_positions(self) -> float:
        """Tokens that it can read; infinite for models without positions."""

    def start(
        self, prompts: Tensor, lengths: Tensor, beams: int, outputs: Optional[int] = None, every_position: bool = False
    ) -> DecoderSession:
        """Read prompts (B, P) of ids, padded on the right, of `lengths` (B,).

        Args:
            beams: K.
            outputs: only the first `outputs` ids need logits; None for all.
            every_position: `prompt_logits` are wanted, too.
        """


class GrowingSession(DecoderSession, Protocol):
    """A session whose prompt may grow."""

    prompt_past: Optional[PromptPast]
    """what a longer prompt goes on from; None where it must be read anew"""


class GrowingDecoder(Decoder, Protocol):
    """A decoder that reads a prompt in parts, as a stream brings them."""

    def go_on(
        self,
        past: PromptPast,
        prompts: Tensor,
        lengths: Tensor,
        beams: int,
        outputs: Optional[int],
        all_positions: bool,
    ) -> DecoderSession:
        """As `start` does, with one prompt (1, P) of which those of `past`, but not the last, were read."""
