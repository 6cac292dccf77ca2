"""fairseq2's language models as decoders of `search.decoders`."""

from __future__ import annotations

from typing import Any, Optional

from fairseq2.models.clm import CausalLM
from fairseq2.nn import BatchLayout
from torch import Tensor

from sld_user_dir.fairseq2.transformer_cache import TransformerCache
from sld_user_dir.search.decoders import DecoderSession
from sld_user_dir.search.recomputed_session import RecomputedSession
from sld_user_dir.vocabulary.joint import JointVocabulary


class TransformerDecoder:
    """A causal language model of fairseq2's, in evaluation mode, as a `Decoder`.

    Keys and values of a `JointTransformer` are kept. Of other models, and of one whose parameters are sharded, the
    whole sequence is run again at each step: fairseq2's incremental state holds no rows of different lengths, which
    prompts of speech are.
    """

    def __init__(self, model: CausalLM, vocab: JointVocabulary):
        self.model, self.vocab = model, vocab

    @property
    def max_positions(self) -> float:
        """Tokens that the model can read."""
        return float(self.model.max_seq_len)

    def start(
        self,
        prompts: Tensor,
        lengths: Tensor,
        beams: int,
        outputs: Optional[int] = None,
        every_position: bool = False,
        **kwargs: Any,
    ) -> DecoderSession:
        """Read prompts (B, P) of `lengths` (B,); see `Decoder`."""
        if TransformerCache.supports(self.model):
            return TransformerCache(self.model, prompts, lengths, beams, outputs, every_position)
        return RecomputedSession(
            lambda rows: self.model(rows, BatchLayout.of(rows)),
            prompts,
            lengths,
            beams,
            pad=self.vocab.pad,
            filler=self.vocab.eos,
            max_positions=self.max_positions,
            outputs=outputs,
            every_position=every_position,
        )
