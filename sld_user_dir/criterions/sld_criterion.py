"""`--criterion sld`: Smoothed Label Distillation, and the multimodal cross-entropy without it.

The numbers are those of `losses.py`; this module adapts them to fairseq: options, denominators,
the choice between fused and plain form, and logs.
"""

import logging
import math
from typing import Any, Dict, List, Optional, Tuple

from fairseq import utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.logging import metrics
from torch import Tensor, nn

from sld_user_dir.criterions.loss_options import DEFAULT_KL_WEIGHT, LossFormConfig, SldCriterionConfig
from sld_user_dir.losses.centroid_targets import CentroidTargets
from sld_user_dir.losses.ctc import CtcLoss
from sld_user_dir.losses.fused import fused_loss
from sld_user_dir.losses.normalisation import TEXT, count_targets, denominators, kl_tokens, segments, update_counts
from sld_user_dir.losses.objective import Objective
from sld_user_dir.losses.positions import Layout, select_rows
from sld_user_dir.losses.statistics import Components, plain_loss
from sld_user_dir.models.projection import find_projection, full_logits

logger = logging.getLogger(__name__)

LN2 = math.log(2)


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
