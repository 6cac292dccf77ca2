"""Prompts in, answers out, behind the interface of fairseq's SequenceGenerator.

Not a subclass of it: fairseq's generator has one length limit for a batch (so that padding changes hypotheses), a beam
no wider than the vocabulary, and re-runs an external language model over the whole transcript at each step. `beam`
follows its rules otherwise, and its options keep their names.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor

from sld_user_dir.errors import InputError
from sld_user_dir.search.beam import Finished, Search, SearchOptions
from sld_user_dir.search.scorers import Scorer
from sld_user_dir.vocabulary.joint import JointVocabulary

Result = Dict[str, Any]


class PromptError(InputError):
    """Prompts that cannot be decoded."""


class PromptGenerator:
    """Decodes batches of prompts.

    Args:
        vocab: the joint vocabulary.
        options: how to search.
        scorer: of the models; its emission says what answers are made of, and what ends them.
        max_len_a: an answer has at most max_len_a times the prompt's length + max_len_b tokens.
        max_len_b: see max_len_a.

    Attributes:
        truncated: how many utterances' best hypotheses ended because of their limit, since it was built.
    """

    def __init__(
        self,
        vocab: JointVocabulary,
        options: SearchOptions,
        scorer: Scorer,
        max_len_a: float = 0.0,
        max_len_b: int = 200,
    ):
        self.vocab, self.options, self.scorer = vocab, options, scorer
        self.max_len_a, self.max_len_b = max_len_a, max_len_b
        self.symbols_to_strip_from_output = {vocab.eos, vocab.separator}
        self.truncated = 0

    @torch.no_grad()
    def generate(
        self,
        models: Any,
        sample: Dict[str, Any],
        prefix_tokens: Optional[Tensor] = None,
        constraints: Optional[Tensor] = None,
        bos_token: Optional[int] = None,
    ) -> List[List[Result]]:
        """Answer a batch of prompts.

        Args:
            models: ignored, as by fairseq's generator: the models were given when it was built.
            sample: `net_input.src_tokens` (B, L) padded on the right, and `prompt_lengths` (B,); what follows the
                prompt in a row is ignored. Without `prompt_lengths`, the whole row is prompt.
            prefix_tokens: (B, T) ids that the answers must begin with, padded on the right.
            constraints: refused, as fairseq's option `--constraints`.
            bos_token: ignored: an answer begins behind its prompt.

        Returns:
            For each utterance its hypotheses, best first, each a dict of `tokens` (T,) with the end symbol, `score`,
            `positional_scores` (T,) natural log-probabilities of these tokens, `truncated`, and empty `attention` and
            `alignment`, which fairseq's programs expect.

        Raises:
            PromptError: an empty or too long prompt, padding inside it, or a prefix that cannot be emitted.
        """
        if constraints is not None:
            raise InputError("--constraints", "not supported by this generator", "leave it out")
        prompts, lengths = self.prompts(sample)
        prefix = self._prefix(prefix_tokens)
        search = Search(self.options, self.scorer.emission.end, self._limits(lengths), prefix, self.vocab.pad)
        if prefix is not None and self._can_read_ahead(prefix, search):
            log_probs, forced = self.scorer.start_behind(prefix, prompts, lengths, self.options.beam)
            search.begin_with(prefix, forced)
        else:
            log_probs = self.scorer.start(prompts, lengths, self.options.beam)  # (B, V)
        log_probs = log_probs.unsqueeze(1).repeat(1, self.options.beam, 1)
        while True:
            tokens, parents = search.advance(log_probs)  # (B, K)
            rows = search.drop_done()
            if rows is not None:
                if not len(rows):
                    break
                self.scorer.keep(rows)
                tokens, parents = tokens[rows], parents[rows]
            log_probs = self.scorer.step(tokens, parents)  # (B, K, V)
        results = search.results()
        self.truncated += sum(found[0].truncated for found in results)
        return [[self._result(h, prompts.device) for h in found] for found in results]

    def prompts(self, sample: Dict[str, Any]) -> Tuple[Tensor, Tensor]:
        """(B, P) prompts of a batch, with padding behind them only, and their lengths (B,).

        Raises:
            PromptError: see `generate`.
        """
        source = sample["net_input"]["src_tokens"]
        filled = source.ne(self.vocab.pad)
        lengths = sample.get("prompt_lengths")
        lengths = filled.sum(dim=1) if lengths is None else lengths.to(source.device)
        if len(lengths) != len(source):
            raise PromptError(None, "a packed batch can't be decoded", "load the data without --pack-utterances")
        shortest, longest = int(lengths.min()), int(lengths.max())
        if shortest < 1:
            raise PromptError(None, "empty row: a prompt holds the separator at least")
        if longest > self._max_positions():
            raise PromptError(
                None, f"prompt of {longest} tokens; the model takes {self._max_positions()}", "shorten it"
            )
        prompt = torch.arange(longest, device=source.device) < lengths[:, None]
        if bool((prompt & ~filled[:, :longest]).any()):
            raise PromptError(None, "padding inside a prompt", "pad on the right")
        return source[:, :longest].masked_fill(~prompt, self.vocab.pad), lengths

    def _prefix(self, tokens: Optional[Tensor]) -> Optional[Tensor]:
        if tokens is None or not tokens.numel():
            return None
        allowed = torch.isin(tokens, torch.tensor(self.scorer.emission.ids, device=tokens.device))
        if not bool((allowed | tokens.eq(self.vocab.pad)).all()):
            raise PromptError(
                None, "prefix tokens hold an id that cannot be emitted", "give ids of the answer, padded on the right"
            )
        return tokens

    def _can_read_ahead(self, prefix: Tensor, search: Search) -> bool:
        """Whether the only answer's beginning may be read with its prompt: nothing but the beginning decides on it."""
        options, end = self.options, self.scorer.emission.end
        plain = not options.sampling and not options.no_repeat_ngram_size and self.scorer.language_model is None
        whole = len(prefix) == 1 and not bool((prefix.eq(self.vocab.pad) | prefix.eq(end)).any())
        return plain and whole and prefix.size(1) < search.lowest_limit

    def _limits(self, lengths: Tensor) -> Tensor:
        """(B,) most tokens of each answer; the last one fed must have a position."""
        wanted = (self.max_len_a * lengths + self.max_len_b).long()
        limits = torch.minimum(wanted, self._max_positions() - lengths)
        lm = self.scorer.language_model
        return limits if lm is None else limits.clamp(max=int(lm.decoder.max_positions) - 1)

    def _max_positions(self) -> int:
        # convolutional and recurrent models have no limit: infinity, which is no number of tokens
        return int(min(2**31, self.scorer.max_positions))

    @staticmethod
    def _result(finished: Finished, device: torch.device) -> Result:
        return {
            "tokens": torch.tensor(finished.tokens, device=device),
            "score": torch.tensor(finished.score, device=device),
            "positional_scores": torch.tensor(finished.log_probs, device=device),
            "truncated": finished.truncated,
            "attention": torch.empty(0),
            "alignment": torch.empty(0),
        }
