"""The loss of fairseq2's model on a batch: the core's objective, with divisors that are exact over the whole update."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional

import torch
from fairseq2.gang import ReduceOperation
from fairseq2.nn import BatchLayout
from torch import Tensor, nn

from sld_user_dir.errors import InputError
from sld_user_dir.fairseq2.joint_transformer import JointTransformer, output_matrix
from sld_user_dir.losses.batch_loss import batch_loss
from sld_user_dir.losses.normalisation import update_divisors
from sld_user_dir.losses.objective import Objective
from sld_user_dir.losses.positions import Layout, positions_of
from sld_user_dir.losses.term import Measure


class LossOfBatch(NamedTuple):
    """What a batch gives."""

    value: Tensor
    """its share of the update's loss; 0-dim, nats"""
    share: float
    """one over the batches of the update, all workers' together"""
    measures: List[Measure]


class UnitLoss:
    """The objective on fairseq2's model.

    Args:
        model: as it is trained, in fairseq2's wrapper for data parallelism if any.
        base: the same without.
        objective: the terms.
        vocab: the joint vocabulary.
        gangs: of fairseq2.
        form: `auto`, `fused` or `plain`, as the option --loss-form of fairseq's side.
        chunk_size: positions that the fused form projects at a time.
    """

    def __init__(
        self,
        model: nn.Module,
        base: JointTransformer,
        objective: Objective,
        vocab: Any,
        gangs: Any,
        form: str = "auto",
        chunk_size: Optional[int] = None,
    ):
        self.model, self.base, self.objective, self.gangs = model, base, objective, gangs
        self.layout, self.form, self.chunk_size = Layout.of(vocab), form, chunk_size

    def divisors(self, sample: Dict[str, Any]) -> Tensor:
        """(terms,) int64: what a collated batch adds to each term's divisor."""
        return self.objective.divisors(positions_of(sample, self.layout))

    def __call__(self, sample: Dict[str, Any], training: bool) -> LossOfBatch:
        """The loss of a collated batch; in evaluation it stands for itself."""
        everywhere = positions_of(sample, self.layout)
        own = self.objective.divisors(everywhere)
        divisors, share = update_divisors(sample, own, self._add_up_workers if training else None)
        matrix, tokens = self._matrix(), sample["net_input"]["src_tokens"]
        outputs = self.model(tokens, BatchLayout.of(tokens), features_only=matrix is not None)
        value, measures = batch_loss(
            self.objective, outputs, matrix, everywhere, sample["target"], divisors, own, self.chunk_size
        )
        return LossOfBatch(value, share, measures)

    def measures(self, sample: Dict[str, Any]) -> List[Measure]:
        """The measures of a batch as its targets name them, whatever the model gives: it is not run."""
        everywhere = positions_of(sample, self.layout)
        own = self.objective.divisors(everywhere)
        logits = torch.zeros(*sample["target"].shape, self.layout.size, device=sample["target"].device)
        return batch_loss(self.objective, logits, None, everywhere, sample["target"], own, own)[1]

    def _matrix(self) -> Optional[Tensor]:
        """The output matrix for the fused form; None for the plain one."""
        if self.form == "plain" or (self.form == "auto" and self.objective.differentiates_targets):
            return None
        matrix = output_matrix(self.base)
        if self.form == "fused" and (matrix is None or self.objective.differentiates_targets):
            problem = "not with sharded parameters, nor with the gradient of a target"
            raise InputError("objective.loss_form=fused", problem, "use auto or plain")
        return matrix

    def _add_up_workers(self, totals: Tensor) -> int:
        self.gangs.dp.all_reduce(totals, ReduceOperation.SUM)
        return int(self.gangs.dp.size)
