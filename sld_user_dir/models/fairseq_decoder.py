"""fairseq's language models as decoders of `search.decoders`."""

from __future__ import annotations

import logging
from typing import Any, Optional

from fairseq.models import FairseqLanguageModel
from torch import Tensor

from sld_user_dir.models.prompt_cache import PromptCache
from sld_user_dir.search.decoders import DecoderSession
from sld_user_dir.search.prompt_past import PromptPast
from sld_user_dir.search.recomputed_session import RecomputedSession

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


class RecomputedPrompts(RecomputedSession):
    """A session of any language model of fairseq's: log-probabilities serve as logits."""

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
        def run(rows: Tensor) -> Tensor:
            found: Tensor = model.get_normalized_probs(model(rows), log_probs=True, sample=None)
            return found

        ids = model.decoder.dictionary
        super().__init__(
            run,
            prompts,
            lengths,
            beams,
            pad=ids.pad(),
            filler=ids.eos(),  # as padding it would make fairseq build masks
            max_positions=model.max_positions(),
            outputs=outputs,
            every_position=every_position,
        )
