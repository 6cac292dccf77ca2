"""`--criterion sld`: Smoothed Label Distillation, and the multimodal cross-entropy without it.

The numbers are those of `losses.py`; this module adapts them to fairseq: options, denominators,
the choice between fused and plain form, and logs.
"""

import logging
import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from fairseq import utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor, nn

from .ctc import CtcLoss
from .fused import fused_loss
from .losses import Components, Layout, Objective, plain_loss, select_rows
from .normalisation import TEXT, count_targets, denominators, kl_tokens, segments, update_counts
from .projection import find_projection, full_logits
from .soft_targets import CentroidTargets

logger = logging.getLogger(__name__)

LN2 = math.log(2)

# 0.008 was tuned by the authors for a sum over the utterance; 3.2 = 0.008 * 400 pulls equally
# hard on an utterance of 400 positions.
DEFAULT_KL_WEIGHT = {"sentence": 0.008, "token": 3.2}


@dataclass
class LossFormConfig(FairseqDataclass):
    text_label_smoothing: float = field(
        default=0.0,
        metadata={
            "help": "lambda in CE_text: the target becomes (1-lambda) one-hot + lambda uniform "
            "over everything that is no speech unit"
        },
    )
    ctc_weight: float = field(
        default=0.0,
        metadata={
            "help": "w_ctc, factor of a CTC loss on the speech positions (blank <s>, no parameters of its own), "
            "divided by the number of text tokens as CE_text is (Watanabe et al. 2017; docs/losses.md)"
        },
    )
    loss_form: ChoiceEnum(["auto", "fused", "plain"]) = field(  # type: ignore[valid-type]
        default="auto",
        metadata={
            "help": "'fused' computes loss and gradients together with the output projection, "
            "chunk by chunk, and never holds the logits; 'plain' works on the model's logits. "
            "The objective is the same. 'auto': fused where the model allows it"
        },
    )
    loss_chunk_size: Optional[int] = field(
        default=None,
        metadata={
            "help": "positions that the fused form projects at a time: time against memory, no "
            "effect on the objective (default: 384 on a CPU, 2048 elsewhere)"
        },
    )
    speech_target_weight: float = field(
        default=1.0,
        metadata={
            "help": "in a mixture of tasks (--task-mix), factor of the cross-entropy on answers in "
            "speech, those of tts and slm (mean over their tokens)"
        },
    )


@dataclass
class SldCriterionConfig(LossFormConfig):
    text_weight: float = field(default=1.0, metadata={"help": "w_text, factor of CE_text (mean over text tokens)"})
    speech_weight: float = field(
        default=1.0,
        metadata={
            "help": "w_speech, factor of CE_speech (mean over speech tokens, softmax over the "
            "whole vocabulary); 0 with --kl-weight 0 is Loss Masking"
        },
    )
    kl_weight: Optional[float] = field(
        default=None,
        metadata={
            "help": "alpha, factor of the KL divergence from the smoothed target to the softmax "
            "over the speech units; 0: plain multimodal cross-entropy (default: 0.008 with "
            "--kl-denominator sentence, 3.2 with token)"
        },
    )
    kl_variant: ChoiceEnum(["paper", "official", "centroid"]) = field(  # type: ignore[valid-type]
        default="paper",
        metadata={
            "help": "'paper': target (1-eps) one-hot + eps/K, on speech targets. 'official', as "
            "the authors' program: that vector goes through a second softmax, which leaves it "
            "nearly uniform; on every position (unit 0 as the target of text); and the separator "
            "counts in CE_speech. 'centroid', as 'paper' but for its target, which falls off with the "
            "distance between the units' centroids (docs/losses.md)"
        },
    )
    kl_centroids: Optional[str] = field(
        default=None, metadata={"help": "k-means .npz that made the units, for --kl-variant centroid"}
    )
    kl_neighbours: int = field(
        default=10, metadata={"help": "nearest units, itself included, that a target of --kl-variant centroid lies on"}
    )
    kl_centroid_width: float = field(
        default=0.5,
        metadata={
            "help": "tau of --kl-variant centroid, q_k ~ exp(-distance^2 / (2 tau^2)), as a multiple of the "
            "root mean square distance from a centroid to its nearest one; small: one-hot"
        },
    )
    kl_denominator: ChoiceEnum(["sentence", "token"]) = field(  # type: ignore[valid-type]
        default="sentence",
        metadata={
            "help": "what the KL's sum over tokens is divided by: the number of sentences (the "
            "authors' choice; long utterances are then pulled harder) or of the KL's tokens"
        },
    )
    kl_temperature: float = field(
        default=1.0, metadata={"help": "T: the KL compares with softmax(z/T) and is multiplied by T^2"}
    )
    kl_smoothing: float = field(
        default=0.1, metadata={"help": "eps: mass of the KL's target that is spread over all units (not of 'centroid')"}
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


@register_criterion("sld", dataclass=SldCriterionConfig)
class SldCriterion(FairseqCriterion):
    """L = w_text CE_text + w_speech CE_speech + alpha KL (+ w_ctc CTC); see `losses.py` and `ctc.py`.

    Normalisation: CE_text over the text tokens, CE_speech over the speech tokens (with the
    separators in the `official` variant), the KL over sentences or over its tokens
    (`--kl-denominator`); all of these counted over every worker and every batch of an update.
    In a mixture of tasks also w_target CE_target over the answers in speech (docs/mixture.md).
    """

    def __init__(self, task: Any, cfg: LossFormConfig) -> None:
        super().__init__(task)
        self.layout = Layout.of(task.vocab)
        self.objective = self.build_objective(cfg)
        self.loss_form = str(cfg.loss_form)
        self.chunk_size = cfg.loss_chunk_size
        self._told = False
        self.ctc: Optional[CtcLoss] = None
        if cfg.ctc_weight and getattr(task.vocab, "tasks", None):
            raise ValueError("--ctc-weight is for speech recognition alone, not for a mixture of tasks")
        if cfg.ctc_weight:
            self.ctc = CtcLoss(task.vocab, cfg.ctc_weight, task.cfg.add_bos_token)
        self.soft: Optional[CentroidTargets] = None
        if self.objective.kl_variant == "centroid" and self.objective.kl_weight:
            self.soft = CentroidTargets(cfg, self.layout.num_units)

    @staticmethod
    def build_objective(cfg: Any) -> Objective:
        """The objective of a config; not a method of the config, which fairseq turns into a dict."""
        weight = cfg.kl_weight
        return Objective(
            text_weight=cfg.text_weight,
            speech_weight=cfg.speech_weight,
            kl_weight=DEFAULT_KL_WEIGHT[str(cfg.kl_denominator)] if weight is None else weight,
            kl_variant=str(cfg.kl_variant),
            kl_denominator=str(cfg.kl_denominator),
            temperature=cfg.kl_temperature,
            smoothing=cfg.kl_smoothing,
            text_label_smoothing=cfg.text_label_smoothing,
            speech_label_smoothing=cfg.speech_label_smoothing,
            speech_within_units=cfg.speech_within_units,
            speech_target_weight=cfg.speech_target_weight,
        )

    def forward(
        self, model: nn.Module, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, float, Dict[str, Any]]:
        """This batch's share of the update's loss (nats, 0-dim), its sample size, its logs."""
        self._refuse_leak(model)
        own = count_targets(sample, self.layout)
        counts, sample_size = update_counts(sample, own, self.training)
        divisors = denominators(counts, self.objective)
        src_tokens = sample["net_input"]["src_tokens"]
        soft = self.soft.on(src_tokens.device, getattr(self.task, "provenance", {})) if self.soft else None
        rows = select_rows(
            src_tokens, sample["target"], self.layout, self.objective.official, soft,
            segments(sample), self.objective.prompt_text,
        )  # fmt: skip
        task = (rows, self.objective, self.layout, divisors)
        weight = self._fused_weight(model)
        if weight is None:
            outputs = full_logits(model, model(**sample["net_input"])[0], self.layout.size)
            loss, parts, correct = plain_loss(outputs, *task)
        else:
            outputs, _ = model(**sample["net_input"], features_only=True)
            loss, parts, correct = fused_loss(outputs, weight, *task, self.chunk_size)
        logs = self._logs(sample, own, parts, (correct & rows.text).sum())
        if self.ctc is not None:
            term, ctc_logs = self.ctc(outputs, weight, sample["target"], counts[TEXT])
            loss = loss + term
            logs.update(ctc_logs, ctc_count=own[TEXT])
        return loss, sample_size, {"sample_size": sample_size, **logs}

    def _refuse_leak(self, model: nn.Module) -> None:
        speech = self.objective.speech_weight or self.objective.kl_weight
        if speech and getattr(getattr(model, "decoder", None), "prefix_end", None) is not None:
            raise ValueError(
                "--prefix-lm lets speech units see the units after them, which a loss on speech would have to "
                "predict; use --criterion masked_ce, or leave --prefix-lm out"
            )

    def _fused_weight(self, model: nn.Module) -> Optional[Tensor]:
        """The output matrix (V, d) for the fused form; None for the plain one."""
        if self.loss_form == "plain":
            return None
        weight, obstacle = find_projection(model, self.layout.size)
        if obstacle and self.loss_form == "fused":
            raise ValueError(f"--loss-form fused can't be used with this model: {obstacle}; use auto or plain")
        if obstacle and not self._told:
            logger.info("the loss is computed from full logits, not fused: %s", obstacle)
            self._told = True
        return weight

    def _logs(self, sample: Dict[str, Any], counts: Tensor, parts: Components, correct: Tensor) -> Dict[str, Any]:
        """Sums over this batch in nats, each with its count: they may be added up over workers."""
        objective = self.objective
        own = denominators(counts, objective)
        logs = {
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "padding": (sample["target"] == self.layout.pad).sum(),
            "positions": sample["target"].numel(),
        }
        if objective.text_weight:
            logs["text_objective"] = objective.text_weight * parts.text
            logs.update(text_count=own.text, text_nll=parts.text_nll, text_correct=correct)
        if objective.speech_weight:
            logs["speech_objective"] = objective.speech_weight * parts.speech
            logs.update(speech_count=own.speech, speech_nll=parts.speech_nll)
        if objective.kl_weight:
            logs["kl_objective"] = objective.kl_weight * parts.kl
            logs.update(kl_count=own.kl, kl=parts.kl, kl_tokens=kl_tokens(counts, objective))
        if objective.speech_target_weight and "speech_role" in sample:
            logs["speech_target_objective"] = objective.speech_target_weight * parts.answer
            logs.update(speech_target_count=own.answer, speech_target_nll=parts.answer)
        return logs

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Dict[str, Any]]) -> None:
        """Log the loss and its components in bits, from sums over workers and batches.

        `loss` is the objective; `loss_text`, `loss_speech`, `loss_kl`, `loss_ctc` are its terms, weights
        and label smoothing included; `text`, `speech`, `kl`, `ctc` are bits per token without either;
        `ctc_short` is the share (%) of utterances with too few units for a CTC loss.
        `speech_target`, in a mixture of tasks, is that of answers in speech.
        """
        log_components({key: _total(logging_outputs, key) for key in logging_outputs[0]})

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Yes: every value is a sum."""
        return True


def log_components(sums: Dict[str, float]) -> None:
    """Log the metrics of one update, or of one validation batch, from its sums in nats."""
    names = ("text", "speech", "kl", "ctc", "speech_target")
    terms = [name for name in names if f"{name}_objective" in sums]
    for term in terms:
        _log_mean(f"loss_{term}", sums[f"{term}_objective"] / LN2, sums[f"{term}_count"])
    metrics.log_derived("loss", lambda meters: round(sum(float(meters[f"loss_{term}"].avg) for term in terms), 3))
    for name in ("text", "speech", "speech_target"):
        if name in terms:
            _log_mean(name, sums[f"{name}_nll"] / LN2, sums[f"{name}_count"])
            _log_perplexity(name)
    if "text" in terms:
        _log_mean("text_accuracy", 100 * sums["text_correct"], sums["text_count"])
    if "kl" in terms:
        _log_mean("kl", sums["kl"] / LN2, sums["kl_tokens"])
    if "ctc" in terms:
        _log_mean("ctc", sums["ctc_nll"] / LN2, sums["ctc_tokens"])
        _log_mean("ctc_short", 100 * sums["ctc_short"], sums["ctc_sentences"])
    _log_mean("padding", sums["padding"], sums["positions"])


def _total(logging_outputs: List[Dict[str, Any]], key: str) -> float:
    return sum(float(log.get(key, 0)) for log in logging_outputs)


def _log_mean(name: str, total: float, count: float) -> None:
    metrics.log_scalar(name, total / max(count, 1), weight=count, round=3)


def _log_perplexity(name: str) -> None:
    metrics.log_derived(f"{name}_ppl", lambda meters: utils.get_perplexity(meters[name].avg))
