"""What fairseq2's trainer and its validation do with a batch."""

from __future__ import annotations

from typing import Any, List, MutableMapping, Optional, Tuple

import torch
from fairseq2.evaluator import EvalUnit
from fairseq2.metrics import MetricBag
from fairseq2.trainer import TrainUnit
from torch import Tensor

from sld_user_dir.fairseq2 import unit_metrics
from sld_user_dir.fairseq2.unit_batch import UnitBatch
from sld_user_dir.fairseq2.unit_loss import UnitLoss
from sld_user_dir.losses.term import Measure
from sld_user_dir.scoring.recognition_errors import count_errors
from sld_user_dir.search.generator import PromptGenerator
from sld_user_dir.sequences.input_masking import hide_inputs
from sld_user_dir.vocabulary.joint import JointVocabulary


class UnitTrainUnit(TrainUnit[UnitBatch]):
    """The loss of a training batch.

    fairseq2 divides a loss that comes without a number of targets by the batches of the update, and the workers'
    gradients by their number. A batch's share of the finished loss is multiplied by both here, so that nothing is left
    of either: text, speech and sentences keep the divisors of the whole update.
    """

    def __init__(self, loss: UnitLoss, vocab: JointVocabulary, mask_prob: float = 0.0, mask_speech_only: bool = True):
        self._loss, self._vocab = loss, vocab
        self._mask_prob, self._mask_speech_only = mask_prob, mask_speech_only

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        """Let the metrics be known before the first batch, as a training that goes on needs them."""
        unit_metrics.update_measures(metric_bag, measures_of_nothing(self._loss, self._vocab))
        unit_metrics.update_sizes(metric_bag, None)

    def set_step_nr(self, step_nr: int) -> None:
        """Let weights with a schedule know the update, which fairseq2 counts from 1."""
        self._loss.objective.update = step_nr - 1

    def process_batch(self, batch: UnitBatch, metric_bag: MetricBag) -> Tuple[Tensor, Optional[int]]:
        sample = hide_inputs(batch.sample, self._vocab, self._mask_prob, self._mask_speech_only)
        found = self._loss(sample, training=True)
        unit_metrics.update_measures(metric_bag, found.measures)
        unit_metrics.update_sizes(metric_bag, batch)
        return found.value / found.share, None

    def process_metric_values(self, values: MutableMapping[str, object]) -> None:
        unit_metrics.finish(values)


class UnitEvalUnit(EvalUnit[UnitBatch]):
    """The loss of a validation batch, and with a generator the errors of what is recognised."""

    def __init__(self, loss: UnitLoss, vocab: JointVocabulary, generator: Optional[PromptGenerator]):
        self._loss, self._vocab, self._generator = loss, vocab, generator

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        unit_metrics.update_measures(metric_bag, measures_of_nothing(self._loss, self._vocab))
        unit_metrics.update_sizes(metric_bag, None)
        if self._generator is not None:
            unit_metrics.update_errors(metric_bag, count_errors([], [], self._vocab))

    def process_batch(self, batch: UnitBatch, metric_bag: MetricBag) -> None:
        with torch.inference_mode(False), torch.no_grad():  # the fused form differentiates by its statistics
            found = self._loss(batch.sample, training=False)
        unit_metrics.update_measures(metric_bag, found.measures)
        unit_metrics.update_sizes(metric_bag, batch)
        sample = batch.sample
        if self._generator is not None and sample["nsentences"] and set(sample["tasks"]) == {"asr"}:
            hypotheses = self._generator.generate(None, sample)
            unit_metrics.update_errors(metric_bag, count_errors(sample["target"], hypotheses, self._vocab))

    def process_metric_values(self, values: MutableMapping[str, object]) -> None:
        unit_metrics.finish(values)


def measures_of_nothing(loss: UnitLoss, vocab: JointVocabulary) -> List[Measure]:
    """The measures of a batch of padding: their names, with nothing counted."""
    padding = torch.full((1, 1), vocab.pad, device=loss.gangs.device)
    sample: Any = {
        "net_input": {"src_tokens": padding, "src_lengths": torch.ones(1, dtype=torch.long)},
        "target": padding,
        "segments": torch.zeros_like(padding, dtype=torch.uint8),
    }
    return loss.measures(sample)
