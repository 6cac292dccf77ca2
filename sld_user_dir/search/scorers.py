"""Log-probabilities of the next symbol, over what may be emitted: of one model or several, with a language model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from sld_user_dir.search.ctc_prefix import CtcPrefixScorer
from sld_user_dir.search.ctc_reading import at_least_float32, read_ctc
from sld_user_dir.search.decoders import Decoder, DecoderSession
from sld_user_dir.sequences.ctc_classes import CtcClasses
from sld_user_dir.sequences.sequence_format import Emission


@dataclass(frozen=True)
class FusedLanguageModel:
    """An external language model for shallow fusion.

    Attributes:
        decoder: over ids of its own.
        ids: (V,) its id of each of our symbols.
        first_token: what it was trained to start from.
        weight: factor of its log-probabilities, which are over its whole vocabulary.
    """

    decoder: Decoder
    ids: Tensor
    first_token: int
    weight: float = 1.0


@dataclass(frozen=True)
class FusedCtc:
    """The CTC of the decoders' own speech positions, beside what they predict of the text.

    Attributes:
        classes: which outputs are its classes.
        weight: log-probabilities are (1 - weight) of the decoders plus weight of CTC (Watanabe et al. 2017).
    """

    classes: CtcClasses
    weight: float


class Scorer:
    """Scores continuations of a batch of prompts.

    Args:
        decoders: models over one vocabulary; of several, the mean of their probabilities counts.
        emission: what may be emitted. Probabilities are normalised over these ids alone, and the output matrix is cut
            behind the last of them.
        temperature: divides the logits.
        language_model: for shallow fusion, if any.
        ctc: for joint decoding, if any.
    """

    def __init__(
        self,
        decoders: Sequence[Decoder],
        emission: Emission,
        temperature: float = 1.0,
        language_model: Optional[FusedLanguageModel] = None,
        ctc: Optional[FusedCtc] = None,
    ):
        self.decoders, self.temperature, self.language_model = decoders, temperature, language_model
        self.emission, self.ctc = emission, ctc
        self.outputs = max(emission.ids) + 1  # V
        emitted = set(emission.ids)
        self.never_emitted = torch.tensor([i for i in range(self.outputs) if i not in emitted])

    @property
    def max_positions(self) -> float:
        """Tokens that the models can read."""
        return min(decoder.max_positions for decoder in self.decoders)

    def start(self, prompts: Tensor, lengths: Tensor, beams: int) -> Tensor:
        """Read the prompts, (B, P) of `lengths` (B,); returns (B, V) log-probabilities of the first symbol."""
        self._read(prompts, lengths, beams, everywhere=self.ctc is not None)
        log_probs = self._combine([session.first_logits for session in self.sessions])
        if self.ctc is not None:
            self._read_ctc(prompts, lengths, beams)
            log_probs = self._alike_with_ctc(log_probs, beams)
        lm = self.language_model
        if lm is None:
            return log_probs
        self.lm_ids = lm.ids.to(prompts.device)
        begin = prompts.new_full((prompts.size(0), 1), lm.first_token)
        self.lm_session = lm.decoder.start(begin, torch.ones_like(lengths), beams)
        return log_probs + self._lm_scores(self.lm_session.first_logits)

    def start_behind(self, forced: Tensor, prompts: Tensor, lengths: Tensor, beams: int) -> Tuple[Tensor, Tensor]:
        """As `start`, behind the beginning `forced` (1, T) of the answer to a single prompt: one pass reads both.

        Without a language model.

        Returns:
            (1, V) log-probabilities of the next symbol, and those of the forced ones, (1, T).
        """
        assert self.language_model is None
        read, before = torch.cat([prompts, forced], dim=1), prompts.size(1) - 1
        self._read(read, lengths + forced.size(1), beams, everywhere=True)
        # copied, since what the sessions remember of the prompt stays theirs
        log_probs = self._combine([_of_prompt(session)[:, before:].clone() for session in self.sessions])
        if self.ctc is None:
            return log_probs[:, -1], log_probs[:, :-1].gather(2, forced[..., None])[..., 0]
        self._read_ctc(read, lengths, beams)
        scores, first = [], forced.new_zeros(1, beams)
        for place in range(forced.size(1)):
            token = forced[:, place, None]
            scores.append(self._alike_with_ctc(log_probs[:, place], beams).gather(1, token))
            self.prefixes.advance(self.ctc.classes.of_ids(token.expand(-1, beams)), first)
        return self._alike_with_ctc(log_probs[:, -1], beams), torch.cat(scores, dim=1)

    def step(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Feed (B, K) tokens that continue beams `parents` (B, K); returns (B, K, V) of the next symbol."""
        log_probs = self._combine([session.step(tokens, parents) for session in self.sessions])
        if self.ctc is not None:
            self.prefixes.advance(self.ctc.classes.of_ids(tokens), parents)
            log_probs = self._with_ctc(log_probs)
        if self.language_model is not None:
            log_probs += self._lm_scores(self.lm_session.step(self.lm_ids[tokens], parents))
        return log_probs

    def keep(self, rows: Tensor) -> None:
        """Go on with these utterances only."""
        for session in self.sessions + ([] if self.language_model is None else [self.lm_session]):
            session.keep(rows)
        if self.ctc is not None:
            self.prefixes.keep(rows)

    def _read(self, prompts: Tensor, lengths: Tensor, beams: int, everywhere: bool) -> None:
        self.never_emitted = self.never_emitted.to(prompts.device)
        self.sessions = [decoder.start(prompts, lengths, beams, self.outputs, everywhere) for decoder in self.decoders]

    def _read_ctc(self, prompts: Tensor, lengths: Tensor, beams: int) -> None:
        assert self.ctc is not None
        log_probs, n_units = read_ctc(self.sessions, self.ctc.classes, prompts, lengths)
        self.prefixes = CtcPrefixScorer(log_probs, n_units, beams)

    def _combine(self, logits: List[Tensor]) -> Tensor:
        """Normalise over what may be emitted; of several models, log of the mean probability."""
        each = [at_least_float32(x) for x in logits]
        if self.temperature != 1:
            each = [x.div_(self.temperature) for x in each]
        each = [x.index_fill_(-1, self.never_emitted, -math.inf).log_softmax(dim=-1) for x in each]
        return each[0] if len(each) == 1 else torch.stack(each).logsumexp(dim=0) - math.log(len(each))

    def _with_ctc(self, log_probs: Tensor) -> Tensor:
        """(B, K, V) of the decoders, with CTC's share."""
        assert self.ctc is not None
        scores, classes = self.prefixes.scores().to(log_probs), self.ctc.classes
        ctc = torch.full_like(log_probs, -math.inf)
        ctc[..., classes.labels] = scores[..., 1:]
        ctc[..., self.emission.end] = scores[..., 0]
        mixed = (1 - self.ctc.weight) * log_probs.clamp(min=torch.finfo(log_probs.dtype).min) + self.ctc.weight * ctc
        return mixed.masked_fill(log_probs.isneginf(), -math.inf)

    def _alike_with_ctc(self, log_probs: Tensor, beams: int) -> Tensor:
        """(B, V) of the decoders, with CTC's share, while all beams are alike."""
        return self._with_ctc(log_probs[:, None].expand(-1, beams, -1))[:, 0]

    def _lm_scores(self, logits: Tensor) -> Tensor:
        assert self.language_model is not None
        return self.language_model.weight * at_least_float32(logits).log_softmax(dim=-1)[..., self.lm_ids]


def _of_prompt(session: DecoderSession) -> Tensor:
    assert session.prompt_logits is not None  # it was asked for
    return session.prompt_logits
