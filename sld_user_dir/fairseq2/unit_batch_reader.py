"""Reads the batches of a split: `num_accumulate` an update, each with the divisors of the whole update.

Batches, their order and the share of each worker are those of fairseq's side, so that the same seed trains on the same
batches in the same order there.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

import numpy as np
import torch
from fairseq2.datasets import DataReader
from torch import Tensor

from sld_user_dir.fairseq2.unit_batch import UnitBatch
from sld_user_dir.losses.normalisation import annotate
from sld_user_dir.sequences.dataset import SequenceDataset


class UnitBatchReader(DataReader[UnitBatch]):
    """One epoch after another; between two stands the end of an epoch.

    Args:
        dataset: the sequences of a split.
        gangs: of fairseq2; every data-parallel worker gets equally many batches.
        max_num_tokens: of a batch, padding included.
        num_seqs_multiple_of: full batches are rounded down to it.
        num_accumulate: batches an update.
        seed: of the order.
        count: a batch's divisors, in training; None in evaluation.
    """

    def __init__(
        self,
        dataset: SequenceDataset,
        gangs: Any,
        *,
        max_num_tokens: int,
        num_seqs_multiple_of: int = 1,
        num_accumulate: int = 1,
        seed: int = 1,
        count: Optional[Callable[[Dict[str, Any]], Tensor]] = None,
    ):
        self.dataset, self.gangs, self.count, self.seed = dataset, gangs, count, seed
        self._max_num_tokens, self._multiple, self._num_accumulate = (
            max_num_tokens,
            num_seqs_multiple_of,
            num_accumulate,
        )
        self._epoch, self._done = 1, 0  # done: batches of this epoch that each worker has behind it
        self._all: List[np.ndarray] = []  # of the epoch, before their order is drawn
        self._own: Optional[List[Optional[np.ndarray]]] = None  # of this worker, in order

    @property
    def num_accumulate(self) -> int:
        return self._num_accumulate

    def __iter__(self) -> UnitBatchReader:
        return self

    def __next__(self) -> List[UnitBatch]:
        if self._own is None:
            self._own = self._batches_of_epoch()
        chosen = self._own[self._done : self._done + self._num_accumulate]
        if not chosen:
            raise StopIteration
        self._done += len(chosen)
        samples = [self._collated(batch) for batch in chosen]
        return [UnitBatch(one) for one in (samples if self.count is None else annotate(samples, self.count))]

    def reset(self) -> None:
        """Go to the next epoch."""
        self._epoch, self._done, self._own = self._epoch + 1, 0, None

    def state_dict(self) -> Dict[str, object]:
        """Where it stands, counted over all workers, so that any number of them goes on."""
        return {"epoch": self._epoch, "batches": self._done * self.gangs.dp.size}

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """Go on where the state was taken; rounded down, so that no batch is lost."""
        self._epoch, self._done = state_dict["epoch"], state_dict["batches"] // self.gangs.dp.size
        self._own = None

    def _batches_of_epoch(self) -> List[Optional[np.ndarray]]:
        if not self._all or self.dataset.draws_tasks:
            self.dataset.set_epoch(self._epoch)
            order = self.dataset.ordered_indices()
            self._all = self.dataset.batch_by_size(
                order, max_tokens=self._max_num_tokens, required_batch_size_multiple=self._multiple
            )
        self.dataset.set_epoch(self._epoch)
        batches: List[Optional[np.ndarray]] = list(self._all)
        if self.dataset.shuffle:
            np.random.RandomState(self.seed + self._epoch).shuffle(batches)  # type: ignore[arg-type]
        workers, rank = self.gangs.dp.size, self.gangs.dp.rank
        missing = -len(batches) % workers
        return [*batches, *[None] * missing][rank::workers]

    def _collated(self, batch: Optional[np.ndarray]) -> Dict[str, Any]:
        """The batch; where a worker has one less than others, one whose targets are all padding."""
        indices = self._all[0] if batch is None else batch
        sample = self.dataset.collater([self.dataset[int(index)] for index in indices])
        if batch is None:
            target = torch.full_like(sample["target"], self.dataset.vocab.pad)
            sample.update(target=target, ntokens=0, nsentences=0)
        return sample
