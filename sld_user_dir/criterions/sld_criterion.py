"""`--criterion sld`: Smoothed Label Distillation, and the multimodal cross-entropy without it.

The idea of the paper is `losses/terms/smoothed_kl.py`; this module adapts the loss terms to fairseq: options, divisors,
the choice between fused and plain form, and logs.
"""

import logging
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Tuple, Union

import torch.distributed as dist
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.distributed import utils as distributed_utils
from torch import Tensor, nn

from sld_user_dir.criterions.loss_options import LossFormConfig, SldCriterionConfig
from sld_user_dir.criterions.term_logs import log_measures, logging_output
from sld_user_dir.errors import InputError
from sld_user_dir.losses.batch_loss import batch_loss
from sld_user_dir.losses.normalisation import update_divisors
from sld_user_dir.losses.objective import Objective
from sld_user_dir.losses.positions import Layout, positions_of
from sld_user_dir.losses.term import Context, build_terms
from sld_user_dir.models.projection import find_projection, full_logits

logger = logging.getLogger(__name__)


@register_criterion("sld", dataclass=SldCriterionConfig)
class SldCriterion(FairseqCriterion):
    """The sum of the terms that the options ask for: CE_text, CE_speech, the KL, and what else `losses/terms/` holds.

    Every term has a divisor of its own, which its file states, counted over all workers and all batches of an update.

    Attributes:
        objective: the terms.
    """

    def __init__(self, task: Any, cfg: LossFormConfig) -> None:
        super().__init__(task)
        self.layout = Layout.of(task.vocab)
        self.objective = self.build_objective(cfg, context_of(task))
        self.loss_form = str(cfg.loss_form)
        self.chunk_size = cfg.loss_chunk_size
        self._told = False

    @staticmethod
    def build_objective(cfg: Any, context: Context) -> Objective:
        """The objective of a configuration."""
        return Objective(build_terms(cfg, context))

    def set_num_updates(self, num_updates: int) -> None:
        """Which update the next losses are for: weights may have a schedule."""
        self.objective.update = num_updates

    def divisors(self, sample: Dict[str, Any]) -> Tensor:
        """(terms,) int64: what a collated batch adds to each term's divisor."""
        return self.objective.divisors(positions_of(sample, self.layout))

    def forward(
        self, model: nn.Module, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, float, Dict[str, Any]]:
        """This batch's share of the update's loss (nats, 0-dim), its sample size, its logs."""
        everywhere = positions_of(sample, self.layout)
        own = self.objective.divisors(everywhere)
        divisors, sample_size = update_divisors(sample, own, _add_up_workers if self.training else None)
        matrix = self._output_matrix(model)
        if matrix is None:
            outputs = full_logits(model, model(**sample["net_input"])[0], self.layout.size)
        else:
            outputs, _ = model(**sample["net_input"], features_only=True)
        loss, measures = batch_loss(
            self.objective, outputs, matrix, everywhere, sample["target"], divisors, own, self.chunk_size
        )
        sizes = {"ntokens": sample["ntokens"], "nsentences": sample["nsentences"], "sample_size": sample_size}
        return loss, sample_size, {**sizes, **logging_output(measures)}

    def _output_matrix(self, model: nn.Module) -> Optional[Union[Tensor, List[Tensor]]]:
        """The output matrix (V, d) for the fused form, or its parts; None for the plain one."""
        if self.loss_form == "plain":
            return None
        weight, obstacle = find_projection(model, self.layout.size)
        if self.objective.differentiates_targets:
            weight, obstacle = None, "--kl-target-gradient asks for the gradient of a target"
        if obstacle and self.loss_form == "fused":
            raise InputError(None, f"--loss-form fused can't be used with this model: {obstacle}", "use auto or plain")
        if obstacle and not self._told:
            logger.info("the loss is computed from full logits, not fused: %s", obstacle)
            self._told = True
        return weight

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Dict[str, Any]]) -> None:
        """Log the loss and its terms in bits, from sums over workers and batches.

        `loss` is the objective; `loss_text`, `loss_speech`, `loss_kl`, … are its terms, weights and label smoothing
        included; `text`, `speech`, `kl`, … are bits per token without either. `ctc_short` is the share (%) of
        utterances with too few units for a CTC loss; `speech_target`, in a mixture of tasks, is that of answers in
        speech.
        """
        log_measures(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Yes: every value is a sum."""
        return True


def context_of(task: Any) -> Context:
    """What loss terms may know of a task."""
    cfg = getattr(task, "cfg", SimpleNamespace())
    return Context(
        vocab=task.vocab,
        add_bos=getattr(cfg, "add_bos_token", False),
        answers_in_speech=getattr(task, "answers_in_speech", False),
        provenance=getattr(task, "provenance", None),
    )


def _add_up_workers(totals: Tensor) -> int:
    """Sum over the data-parallel workers, in place; returns their number."""
    if not (dist.is_available() and dist.is_initialized()):
        return 1
    group = distributed_utils.get_data_parallel_group()
    distributed_utils.all_reduce(totals, group=group)
    return int(distributed_utils.get_world_size(group))
