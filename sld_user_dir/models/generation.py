"""fairseq's models and options in the form that `search` takes."""

from __future__ import annotations

import logging
import math
from dataclasses import fields
from typing import Any, Optional, Sequence

import torch
from fairseq.dataclass.configs import GenerationConfig
from fairseq.models import FairseqLanguageModel
from torch import Tensor

from sld_user_dir.errors import InputError
from sld_user_dir.models.fairseq_decoder import FairseqDecoder
from sld_user_dir.search.beam import SearchOptions
from sld_user_dir.search.generator import PromptGenerator
from sld_user_dir.search.scorers import FusedCtc, FusedLanguageModel, Scorer
from sld_user_dir.sequences.ctc_classes import CtcClasses
from sld_user_dir.sequences.sequence_format import FORMATS, TEXT, SequenceFormat
from sld_user_dir.vocabulary.joint import JointVocabulary

logger = logging.getLogger(__name__)

_UNSUPPORTED = {
    "diverse_beam_groups": -1,
    "diversity_rate": -1.0,
    "match_source_len": False,
    "constraints": None,
    "print_alignment": None,
    "retain_dropout": False,
    "score_reference": False,
}
"""Options of fairseq's that this generator lacks, and their values when nobody asks for them."""


def generation_config(beam: int, **options: Any) -> GenerationConfig:
    """fairseq's generation options by name.

    Raises:
        TypeError: no such option.
    """
    unknown = sorted(set(options) - set(GenerationConfig.__dataclass_fields__))
    if unknown:
        raise TypeError(f"no generation option {unknown[0]!r}; see fairseq-generate --help")
    return GenerationConfig(beam=beam, **options)


def build_generator(
    models: Sequence[FairseqLanguageModel],
    vocab: JointVocabulary,
    cfg: Any,
    lm_model: Optional[FairseqLanguageModel] = None,
    lm_weight: float = 1.0,
    sequence: SequenceFormat = FORMATS["asr"],
    ctc_weight: float = 0.0,
) -> PromptGenerator:
    """A generator for fairseq's programs, for validation and for the hub.

    Args:
        models: an ensemble over the same vocabulary, put into evaluation mode.
        vocab: the joint vocabulary.
        cfg: fairseq's GenerationConfig, or anything with some of its fields: beam, max_len_a, max_len_b, min_len,
            unnormalized, lenpen, temperature, no_repeat_ngram_size, sampling, sampling_topk, sampling_topp. All lengths
            count tokens of the answer; max_len_a is multiplied by the prompt's length. `unkpen` has no effect: <unk> is
            never emitted.
        lm_model: external language model for shallow fusion.
        lm_weight: its weight.
        sequence: the task that is decoded.
        ctc_weight: share of the models' own CTC in the score of a transcript, from 0 to 1.

    Raises:
        InputError: an option that this generator lacks, or one out of range.
    """
    for name, unset in _UNSUPPORTED.items():
        if getattr(cfg, name, unset) not in (unset, None):
            raise InputError(f"--{name.replace('_', '-')}", "not supported by this generator", "leave it out")
    options = SearchOptions(**_given(cfg, *(field.name for field in fields(SearchOptions))))
    temperature = getattr(cfg, "temperature", 1.0)
    if options.beam < 1 or temperature <= 0:
        raise InputError(
            f"--beam {options.beam} --temperature {temperature}", "nothing to search", "choose both above 0"
        )
    if not math.isfinite(temperature):
        raise InputError(f"--temperature {temperature}", "all symbols become equally likely", "choose a finite one")
    if not math.isfinite(lm_weight):
        raise InputError(f"--lm-weight {lm_weight}", "no weight", "choose a finite one")
    if getattr(cfg, "nbest", 1) < 1:
        raise InputError(f"--nbest {cfg.nbest}", "no hypothesis to show", "take 1 or more")
    if not options.sampling and (options.sampling_topk > 0 or options.sampling_topp > 0):
        raise InputError("--sampling-topk, --sampling-topp", "they choose what is drawn", "add --sampling")
    fused = None
    if lm_model is not None:
        if sequence.answer != TEXT:
            raise InputError("--lm-path", "a language model of text can't score units", "leave it out")
        dictionary = lm_model.decoder.dictionary
        ids = _ids_by_symbol(vocab, dictionary)
        fused = FusedLanguageModel(FairseqDecoder(lm_model), ids, _first_token(lm_model, dictionary), lm_weight)
    if sequence.answer != TEXT:
        _refuse_speech_convolution(models)
    ctc = _fused_ctc(vocab, ctc_weight, sequence)
    scorer = Scorer([FairseqDecoder(model) for model in models], sequence.emission(vocab), temperature, fused, ctc)
    return PromptGenerator(vocab, options, scorer, **_given(cfg, "max_len_a", "max_len_b"))


def refuse_no_token(cfg: Any) -> None:
    """Refuse lengths that leave no token for any answer; the search would take them, and find empty ones.

    Raises:
        InputError: names both options.
    """
    max_len_a, max_len_b = getattr(cfg, "max_len_a", 0.0), getattr(cfg, "max_len_b", 200)
    if not math.isfinite(max_len_a) or (max_len_a <= 0 and max_len_b < 1):
        raise InputError(
            f"--max-len-a {max_len_a:g} --max-len-b {max_len_b}",
            "these leave no token for an answer",
            "take --max-len-b of at least 1, or --max-len-a above 0",
        )


def _refuse_speech_convolution(models: Sequence[FairseqLanguageModel]) -> None:
    if any(getattr(model.decoder, "speech_convolution", None) is not None for model in models):
        raise InputError(
            "--decode-task", "a model with --speech-conv-kernel can't emit units, only read them", "decode with asr"
        )


def _fused_ctc(vocab: JointVocabulary, weight: float, sequence: SequenceFormat) -> Optional[FusedCtc]:
    option = f"--decode-ctc-weight {weight}"
    if not 0 <= weight <= 1:
        raise InputError(option, "a share of the score", "choose it in [0, 1]")
    if not weight:
        return None
    if vocab.tasks or sequence is not FORMATS["asr"]:
        raise InputError(option, "CTC is for a model of speech recognition alone", "leave it out")
    return FusedCtc(CtcClasses.of(vocab), weight)


def _given(cfg: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(cfg, name) for name in names if hasattr(cfg, name)}


def _ids_by_symbol(vocab: JointVocabulary, dictionary: Any) -> Tensor:
    """(V,) id in another dictionary of each text symbol; its <unk> where it has none."""
    ids = torch.tensor([dictionary.index(vocab.table[i]) for i in range(vocab.text_end)])
    ids[vocab.eos] = dictionary.eos()
    unknown = int(ids[vocab.text_start : vocab.text_end].eq(dictionary.unk()).sum())
    if unknown == len(vocab.text_ids):
        raise InputError(
            "--lm-path", "the language model knows none of the text symbols", "train it on the same text tokens"
        )
    if unknown:
        logger.warning("the language model lacks %d of %d text symbols", unknown, len(vocab.text_ids))
    return ids


def _first_token(lm_model: FairseqLanguageModel, dictionary: Any) -> int:
    """What the language model was trained to start from: </s>, or <s> with --add-bos-token."""
    trained = getattr(lm_model.decoder, "args", None)
    return int(dictionary.bos() if getattr(trained, "add_bos_token", False) else dictionary.eos())
