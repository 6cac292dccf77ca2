"""Prompts in, transcripts out, behind the interface of fairseq's SequenceGenerator.

Not a subclass of it: fairseq's generator has one length limit for a batch (so that padding changes
hypotheses), a beam no wider than the vocabulary, and re-runs an external language model over the whole
transcript at each step. `search` follows its rules otherwise, and its options keep their names.
"""

import logging
import math
from dataclasses import fields
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

import torch
from fairseq.models import FairseqLanguageModel
from torch import Tensor

from sld_user_dir.errors import InputError
from sld_user_dir.models.prompt_cache import PromptCache, start_cache
from sld_user_dir.search.beam import Finished, Search, SearchOptions
from sld_user_dir.vocabulary.joint import JointVocabulary

logger = logging.getLogger(__name__)

Hypothesis = Dict[str, Any]
_UNSUPPORTED = {
    "diverse_beam_groups": -1,
    "diversity_rate": -1.0,
    "match_source_len": False,
    "constraints": None,
    "print_alignment": None,
    "retain_dropout": False,
    "score_reference": False,
}


class PromptError(InputError):
    """Prompts that cannot be decoded."""


class TextScorer:
    """Log-probabilities of the next text symbol: one model, or the mean of several, plus a language model.

    Args:
        models: fairseq language models over the joint vocabulary
        vocab: of the models
        temperature: divides the models' logits
        lm_model: a fairseq language model whose dictionary shares text symbols with `vocab` (ids may differ)
        lm_weight: factor of its log-probabilities
    """

    def __init__(
        self,
        models: Sequence[FairseqLanguageModel],
        vocab: JointVocabulary,
        temperature: float = 1.0,
        lm_model: Optional[FairseqLanguageModel] = None,
        lm_weight: float = 1.0,
    ):
        self.models, self.temperature = models, temperature
        emitted = self._emitted(vocab)
        self.outputs = max(emitted) + 1  # V: text comes first in the vocabulary
        self.silent = torch.tensor([i for i in range(self.outputs) if i not in emitted])
        self.lm_model, self.lm_weight = lm_model, lm_weight
        if lm_model is not None:
            self.lm_ids = _ids_by_symbol(vocab, lm_model.decoder.dictionary)  # (V,)
        for model in [*models, *([] if lm_model is None else [lm_model])]:
            why = PromptCache.supports(model)
            if why:
                logger.warning("slow decoding, the whole sequence again at each step: %s", why)

    @staticmethod
    def _emitted(vocab: JointVocabulary) -> Set[int]:
        """Ids that may be emitted; the output matrix is cut behind the last of them."""
        return {*vocab.text_ids, vocab.eos}

    def start(self, prompts: Tensor, lengths: Tensor, beams: int) -> Tensor:
        """Run the prompts, (B, P) of `lengths` (B,); returns (B, V) log-probabilities of the first symbol."""
        self.silent = self.silent.to(prompts.device)
        self.caches = [start_cache(model, prompts, lengths, beams, self.outputs) for model in self.models]
        log_probs = self._combine([cache.first_logits for cache in self.caches])
        if self.lm_model is None:
            return log_probs
        self.lm_ids = self.lm_ids.to(prompts.device)
        begin = prompts.new_full((prompts.size(0), 1), _first_token(self.lm_model))
        self.lm_cache = start_cache(self.lm_model, begin, torch.ones_like(lengths), beams)
        return log_probs + self._lm_scores(self.lm_cache.first_logits)

    def step(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Feed (B, K) tokens that continue beams `parents` (B, K); returns (B, K, V) of the next symbol."""
        log_probs = self._combine([cache.step(tokens, parents) for cache in self.caches])
        if self.lm_model is not None:
            log_probs += self._lm_scores(self.lm_cache.step(self.lm_ids[tokens], parents))
        return log_probs

    def keep(self, rows: Tensor) -> None:
        """Go on with these utterances only."""
        for cache in self.caches + ([] if self.lm_model is None else [self.lm_cache]):
            cache.keep(rows)

    def _combine(self, logits: List[Tensor]) -> Tensor:
        """Normalise over text and end symbol only; of several models, log of the mean probability."""
        each = [_at_least_float32(x).div_(self.temperature).index_fill_(-1, self.silent, -math.inf) for x in logits]
        each = [x.log_softmax(dim=-1) for x in each]
        return each[0] if len(each) == 1 else torch.stack(each).logsumexp(dim=0) - math.log(len(each))

    def _lm_scores(self, logits: Tensor) -> Tensor:
        return self.lm_weight * _at_least_float32(logits).log_softmax(dim=-1)[..., self.lm_ids]


class UnitScorer(TextScorer):
    """Log-probabilities of the next unit of an answer in speech, which the end symbol ends; all else is silent."""

    @staticmethod
    def _emitted(vocab: JointVocabulary) -> Set[int]:
        return {vocab.eos, *range(vocab.unit_offset, len(vocab))}


class UnitGenerator:
    """Decodes batches; see `build_unit_generator`. `eos` ends a hypothesis (default: the vocabulary's).

    Attributes:
        truncated: how many utterances' best hypotheses ended because of their limit, since it was built
    """

    def __init__(
        self,
        models: Sequence[FairseqLanguageModel],
        vocab: JointVocabulary,
        options: SearchOptions,
        scorer: TextScorer,
        max_len_a: float = 0.0,
        max_len_b: int = 200,
        eos: Optional[int] = None,
    ):
        self.models, self.vocab, self.options, self.scorer = models, vocab, options, scorer
        self.max_len_a, self.max_len_b = max_len_a, max_len_b
        self.eos = vocab.eos if eos is None else eos
        self.symbols_to_strip_from_output = {vocab.eos, vocab.separator}
        self.truncated = 0
        for model in models:
            model.eval()

    @torch.no_grad()
    def generate(
        self,
        models: Any,
        sample: Dict[str, Any],
        prefix_tokens: Optional[Tensor] = None,
        constraints: Optional[Tensor] = None,
        bos_token: Optional[int] = None,
    ) -> List[List[Hypothesis]]:
        """Transcribe a batch.

        Args:
            models: ignored, as by fairseq's generator: the models were given when it was built
            sample: `net_input.src_tokens` (B, L) padded on the right, and `prompt_lengths` (B,); what follows
                the prompt in a row is ignored. Without `prompt_lengths`, the whole row is prompt.
            prefix_tokens: (B, T) ids that the transcripts must begin with, padded on the right

        Returns:
            for each utterance its hypotheses, best first, each a dict of `tokens` (T,) with the end symbol,
            `score`, `positional_scores` (T,) of these tokens only, `truncated`, and empty `attention` and
            `alignment`, which fairseq's programs expect

        Raises:
            PromptError: an empty or too long prompt, padding inside it, or a prefix that is no text.
        """
        if constraints is not None:
            raise NotImplementedError("--constraints: not supported by this generator")
        prompts, lengths = self._prompts(sample)
        prefix = self._prefix(prefix_tokens)
        search = Search(self.options, self.eos, self._limits(lengths), prefix, self.vocab.pad)
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
        return [[self._hypothesis(h, prompts.device) for h in found] for found in results]

    def _prompts(self, sample: Dict[str, Any]) -> Tuple[Tensor, Tensor]:
        """(B, P) prompts, with padding behind them only, and their lengths (B,)."""
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
                None, f"prompt of {longest} tokens; the model takes {self._max_positions()}", "leave it out"
            )
        prompt = torch.arange(longest, device=source.device) < lengths[:, None]
        if bool((prompt & ~filled[:, :longest]).any()):
            raise PromptError(None, "padding inside a prompt", "pad on the right")
        return source[:, :longest].masked_fill(~prompt, self.vocab.pad), lengths

    def _prefix(self, tokens: Optional[Tensor]) -> Optional[Tensor]:
        if tokens is None or not tokens.numel():
            return None
        text = tokens.lt(self.vocab.text_end) & ~torch.isin(tokens, self.scorer.silent.to(tokens.device))
        if not bool((text | tokens.eq(self.vocab.pad)).all()):
            raise PromptError(
                None, "prefix tokens hold an id that cannot be emitted", "give text ids, padded on the right"
            )
        return tokens

    def _limits(self, lengths: Tensor) -> Tensor:
        """(B,) most tokens of each transcript; the last one fed must have a position."""
        wanted = (self.max_len_a * lengths + self.max_len_b).long()
        limits = torch.minimum(wanted, self._max_positions() - lengths)
        lm_model = self.scorer.lm_model
        return limits if lm_model is None else limits.clamp(max=lm_model.max_positions() - 1)

    def _max_positions(self) -> int:
        # convolutional and recurrent models have no limit: infinity, which is no number of tokens
        return int(min(2**31, *(model.max_positions() for model in self.models)))

    @staticmethod
    def _hypothesis(finished: Finished, device: torch.device) -> Hypothesis:
        return {
            "tokens": torch.tensor(finished.tokens, device=device),
            "score": torch.tensor(finished.score, device=device),
            "positional_scores": torch.tensor(finished.log_probs, device=device),
            "truncated": finished.truncated,
            "attention": torch.empty(0),
            "alignment": torch.empty(0),
        }


def build_unit_generator(
    models: Sequence[FairseqLanguageModel],
    vocab: JointVocabulary,
    cfg: Any,
    lm_model: Optional[FairseqLanguageModel] = None,
    lm_weight: float = 1.0,
    emit_units: bool = False,
) -> UnitGenerator:
    """A generator for fairseq's programs and for validation.

    Args:
        models: an ensemble over the same vocabulary, put into evaluation mode
        vocab: the joint vocabulary
        cfg: fairseq's GenerationConfig, or anything with some of its fields: beam, max_len_a, max_len_b, min_len,
            unnormalized, lenpen, temperature, no_repeat_ngram_size, sampling, sampling_topk, sampling_topp. All
            lengths count transcript tokens; max_len_a is multiplied by the prompt's length. `unkpen` has no
            effect: `<unk>` is never emitted.
        lm_model: external language model for shallow fusion
        lm_weight: its weight
        emit_units: write units instead of text, as a model for a mixture of tasks can

    Raises:
        NotImplementedError: the configuration asks for something that this generator does not do.
        ValueError: an option out of range.
    """
    for name, unset in _UNSUPPORTED.items():
        if getattr(cfg, name, unset) not in (unset, None):
            raise NotImplementedError(f"--{name.replace('_', '-')}: not supported by this generator")
    names = [field.name for field in fields(SearchOptions)]
    options = SearchOptions(**{name: getattr(cfg, name) for name in names if hasattr(cfg, name)})
    temperature = getattr(cfg, "temperature", 1.0)
    if options.beam < 1 or temperature <= 0:
        raise ValueError(f"--beam {options.beam} --temperature {temperature}: both must be above 0")
    if not options.sampling and (options.sampling_topk > 0 or options.sampling_topp > 0):
        raise ValueError("--sampling-topk and --sampling-topp need --sampling")
    if emit_units and lm_model is not None:
        raise InputError("--lm-path", "a language model of text can't score units", "leave it out")
    scorer = (UnitScorer if emit_units else TextScorer)(models, vocab, temperature, lm_model, lm_weight)
    limits = {name: getattr(cfg, name) for name in ("max_len_a", "max_len_b") if hasattr(cfg, name)}
    return UnitGenerator(models, vocab, options, scorer, **limits)


def _ids_by_symbol(vocab: JointVocabulary, dictionary: Any) -> Tensor:
    """(V,) id in another dictionary of each text symbol; its `<unk>` where it has none."""
    symbols = [vocab.table[i] for i in range(vocab.text_end)]
    ids = torch.tensor([dictionary.index(symbol) for symbol in symbols])
    ids[vocab.eos] = dictionary.eos()
    unknown = int(ids[vocab.text_start : vocab.text_end].eq(dictionary.unk()).sum())
    if unknown == len(vocab.text_ids):
        raise InputError(None, "the language model knows none of the text symbols", "train it on the same text tokens")
    if unknown:
        logger.warning("the language model lacks %d of %d text symbols", unknown, len(vocab.text_ids))
    return ids


def _first_token(lm_model: FairseqLanguageModel) -> int:
    """What the language model was trained to start from: `</s>`, or `<s>` with --add-bos-token."""
    dictionary = lm_model.decoder.dictionary
    trained = getattr(lm_model.decoder, "args", None)
    return dictionary.bos() if getattr(trained, "add_bos_token", False) else dictionary.eos()


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype.itemsize < 4 else x
