"""The cross-entropies: of text, of speech that is a prompt, and of answers in speech.

Each is a mean over its targets y. With V symbols, of which the last K are units, U = V - K, logits z (V,) of a
position, z^s those of the units, and label smoothing l (Szegedy et al. 2016, arXiv 1512.00567):

    CE_text   = mean of  logsumexp(z) - (1-l) z_y - l/U sum_{k<U} z_k
    CE_speech = mean of  logsumexp(z) - (1-l) z_y - l/K sum_k z^s_k
    CE_answer = mean of  logsumexp(z) - z_y

Loss Masking, the baseline of SpeechGPT, VioLA and AudioPaLM, is CE_text alone (and CE_answer where a model speaks).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, List, Optional

import torch
from torch import Tensor

from sld_user_dir.losses.divisors import check_smoothing
from sld_user_dir.losses.positions import Positions
from sld_user_dir.losses.statistics import Statistics
from sld_user_dir.losses.term import LOSS_ON_SPEECH, Context, Measure, PositionTerm, register_term
from sld_user_dir.losses.weight_schedule import WeightSchedule


@dataclass
class TextOptions:
    """Options of the cross-entropy on text."""

    text_weight: float = field(default=1.0, metadata={"help": "w_text, factor of CE_text (mean over text tokens)"})
    text_label_smoothing: float = field(
        default=0.0,
        metadata={
            "help": "lambda in CE_text: the target becomes (1-lambda) one-hot + lambda uniform "
            "over everything that is no speech unit"
        },
    )


@register_term
@dataclass(frozen=True)
class TextCrossEntropy(PositionTerm):
    """CE_text, over text symbols and </s>: those of answers, and with `prompts` those of prompts in text, too."""

    name = "text"
    Options = TextOptions
    log_kind = "perplexity"

    weight: float = 1.0
    label_smoothing: float = 0.0
    prompts: bool = True

    def __post_init__(self) -> None:
        check_smoothing("--text-label-smoothing", self.label_smoothing)

    @classmethod
    def from_options(cls, options: Any, context: Context) -> Optional[TextCrossEntropy]:
        prompts = not getattr(options, "answers_only", False)
        term = cls(options.text_weight, options.text_label_smoothing, prompts)
        return term if term.weight else None

    def positions(self, at: Positions) -> Tensor:
        spoken = at.is_answer & at.has_speech_answer  # its </s> belongs to CE_answer
        text = at.is_text & ~spoken
        return text if self.prompts else text & at.is_answer

    def value(self, stats: Statistics, at: Positions) -> Tensor:
        smooth = self.label_smoothing
        return stats.full - (1 - smooth) * stats.target - smooth / at.layout.unit_offset * stats.text_sum

    def logged_value(self, stats: Statistics, at: Positions) -> Tensor:
        return stats.full - stats.target

    def measures(self, stats: Statistics, at: Positions, correct: Tensor) -> List[Measure]:
        covered = self.positions(at)
        accuracy = Measure("text_accuracy", (correct & covered).sum(), covered.sum(), "percent")
        return [*super().measures(stats, at, correct), accuracy]


@dataclass
class SpeechOptions:
    """Options of the cross-entropy on speech."""

    speech_weight: float = field(
        default=1.0,
        metadata={
            "help": "w_speech, factor of CE_speech (mean over speech tokens, softmax over the "
            "whole vocabulary); 0 with --kl-weight 0 is Loss Masking"
        },
    )
    speech_weight_end: Optional[float] = field(
        default=None,
        metadata={
            "help": "let w_speech go in a straight line from --speech-weight to this, within "
            "--speech-weight-updates updates, and stay there: listening first, then writing"
        },
    )
    speech_weight_updates: int = field(
        default=0, metadata={"help": "number of updates in which w_speech reaches --speech-weight-end"}
    )
    speech_label_smoothing: float = field(
        default=0.0,
        metadata={
            "help": "lambda in CE_speech, an alternative to the KL: the target becomes "
            "(1-lambda) one-hot + lambda uniform over the speech units"
        },
    )
    speech_within_units: bool = field(
        default=False,
        metadata={
            "help": "normalise CE_speech over the speech units only instead of the whole "
            "vocabulary: speech positions are then projected to the units alone, which is "
            "several times cheaper; nothing teaches the model not to emit text there"
        },
    )


@register_term
@dataclass(frozen=True)
class SpeechCrossEntropy(PositionTerm):
    """CE_speech, over the units of prompts; with `separator` over separators, too, as in the authors' program."""

    name = "speech"
    Options = SpeechOptions
    features = frozenset({LOSS_ON_SPEECH})
    log_kind = "perplexity"

    weight: float = 1.0
    label_smoothing: float = 0.0
    within_units: bool = False
    separator: bool = False
    schedule: Optional[WeightSchedule] = None

    def __post_init__(self) -> None:
        check_smoothing("--speech-label-smoothing", self.label_smoothing)

    def weight_at(self, update: Optional[int]) -> float:
        return self.weight if self.schedule is None else self.schedule.weight_at(update)

    @classmethod
    def from_options(cls, options: Any, context: Context) -> Optional[SpeechCrossEntropy]:
        as_authors = str(options.kl_variant) == "official"
        schedule = WeightSchedule.of(options, "speech_weight")
        smoothing, within = options.speech_label_smoothing, options.speech_within_units
        term = cls(options.speech_weight, smoothing, within, as_authors, schedule)
        return term if term.weight or (schedule and schedule.end) else None

    def positions(self, at: Positions) -> Tensor:
        units = at.is_unit & at.has_speech_prompt & ~at.is_answer
        return units | at.is_separator if self.separator else units

    def value(self, stats: Statistics, at: Positions) -> Tensor:
        smooth = self.label_smoothing * at.is_unit.to(stats.full.dtype)
        peak = (1 - smooth) * stats.target + smooth / at.layout.num_units * stats.unit_sum
        return self._normaliser(stats, at) - peak

    def logged_value(self, stats: Statistics, at: Positions) -> Tensor:
        return self._normaliser(stats, at) - stats.target

    def _normaliser(self, stats: Statistics, at: Positions) -> Tensor:
        return torch.where(at.is_unit, stats.units, stats.full) if self.within_units else stats.full


@dataclass
class AnswerOptions:
    """Options of the cross-entropy on answers in speech."""

    speech_target_weight: float = field(
        default=1.0,
        metadata={
            "help": "in a mixture of tasks (--task-mix), factor of the cross-entropy on answers in "
            "speech, those of tts and slm (mean over their tokens)"
        },
    )


@register_term
@dataclass(frozen=True)
class AnswerCrossEntropy(PositionTerm):
    """CE_answer, over answers in speech with their </s>."""

    name = "speech_target"
    Options = AnswerOptions
    log_kind = "perplexity"

    weight: float = 1.0

    @classmethod
    def from_options(cls, options: Any, context: Context) -> Optional[AnswerCrossEntropy]:
        term = cls(options.speech_target_weight)
        return term if term.weight and context.answers_in_speech else None

    def positions(self, at: Positions) -> Tensor:
        return at.is_answer & at.has_speech_answer & ~at.is_padding

    def value(self, stats: Statistics, at: Positions) -> Tensor:
        return stats.full - stats.target
