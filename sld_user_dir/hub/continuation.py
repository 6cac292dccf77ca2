"""Units after units: the generator of `decoding`, emitting speech instead of text."""

from __future__ import annotations

from typing import Any, Sequence

from fairseq.models import FairseqLanguageModel

from sld_user_dir.search.beam import SearchOptions
from sld_user_dir.search.generator import TextScorer, UnitGenerator, UnitScorer
from sld_user_dir.vocabulary.joint import JointVocabulary


class SpeechScorer(TextScorer):
    """Log-probabilities of the next unit; the separator ends an utterance, all else is silent."""

    @staticmethod
    def _emitted(vocab: JointVocabulary) -> set[int]:
        return {vocab.separator, *range(vocab.unit_offset, len(vocab))}


def build_speech_generator(
    models: Sequence[FairseqLanguageModel],
    vocab: JointVocabulary,
    *,
    samples: int = 1,
    max_units: int = 200,
    min_units: int = 0,
    temperature: float = 1.0,
    sampling: bool = True,
    sampling_topk: int = -1,
    sampling_topp: float = -1.0,
) -> UnitGenerator:
    """A generator whose hypotheses are ids of units, ended by the separator, or by </s> in a mixture of tasks.

    Args:
        samples: hypotheses of each prompt: draws, or beams without `sampling`.

    Raises:
        ValueError: an option out of range.
    """
    if samples < 1 or temperature <= 0 or not 0 <= min_units <= max_units:
        raise ValueError(
            f"samples {samples}, temperature {temperature}, units {min_units} to {max_units}: samples and "
            "temperature must be above 0, and the most units not below the least"
        )
    options = SearchOptions(
        beam=samples, min_len=min_units, sampling=sampling, sampling_topk=sampling_topk, sampling_topp=sampling_topp
    )
    if vocab.tasks:
        return UnitGenerator(models, vocab, options, UnitScorer(models, vocab, temperature), 0.0, max_units)
    scorer = SpeechScorer(models, vocab, temperature)
    return UnitGenerator(models, vocab, options, scorer, 0.0, max_units, eos=vocab.separator)


def predicts_units(criterion: Any) -> bool:
    """Whether a checkpoint's criterion taught the model to predict units at all (`masked_ce` does not).

    Args:
        criterion: the configuration that a checkpoint stores.
    """
    stored = criterion if isinstance(criterion, dict) else {k: criterion[k] for k in criterion or {}}
    if stored.get("_name") == "masked_ce":
        return False
    return stored.get("speech_weight") != 0 or stored.get("kl_weight") != 0
