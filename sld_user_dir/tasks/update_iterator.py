"""fairseq's batch iterator, with the divisors of a whole update written into each of its batches.

A loss with several divisors must know them before its first backward pass (`losses/normalisation.py`). fairseq collects
`--update-freq` batches anyway before it trains on the first of them; this iterator looks ahead by the same number.
"""

import logging
from typing import Any, Callable, Dict, Iterator, List, Sequence

import torch
from fairseq.data.iterators import CountingIterator, EpochBatchIterator
from torch import Tensor

from sld_user_dir.losses.normalisation import annotate

logger = logging.getLogger(__name__)
Sample = Dict[str, Any]


class UpdateBatchIterator(EpochBatchIterator):
    """An `EpochBatchIterator` whose batches know the divisors of their update; made by `wrap`.

    Where the batches don't divide evenly, fairseq gives some workers empty ones; its trainer replaces them by a dummy
    batch *and then drops the sample size and the logs of the worker's whole group*. Here an empty batch becomes one
    whose targets are all padding: an ordinary batch, with a loss of 0.
    """

    @classmethod
    def wrap(
        cls, iterator: EpochBatchIterator, count: Callable[[Sample], Tensor], update_freq: Sequence[int], pad: int
    ) -> "UpdateBatchIterator":
        """The same iterator, annotating: takes over the state that fairseq's task gave it.

        The constructor's arguments differ between fairseq's releases; its attributes are copied.

        Args:
            count: maps a collated batch to an int64 tensor of divisors, all of one shape.
            update_freq: batches per update, one entry per epoch, the last one for all later epochs.
            pad: the id of padding.
        """
        wrapped = cls.__new__(cls)
        wrapped.__dict__.update(iterator.__dict__)
        wrapped._count, wrapped._pad = count, pad
        wrapped._update_freq = list(update_freq) or [1]
        # fairseq-fixed's reused loader keeps the first epoch's order: --curriculum would never end
        wrapped.reuse_dataloader = wrapped.persistent_workers = False
        return wrapped

    def state_dict(self) -> Dict[str, Any]:
        """fairseq's state, and of how many batches, dealt to how many workers, its position is counted."""
        state: Dict[str, Any] = super().state_dict()
        return {**state, "num_shards": self.num_shards, "num_batches": len(self.frozen_batches)}

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """Go on where the state was taken, by however many workers.

        fairseq counts the batches of one worker: with half as many workers it would train on a part of the epoch twice,
        with twice as many pass over a part, or refuse to go on.
        """
        super().load_state_dict({**state_dict, "iterations_in_epoch": self._position(state_dict)})

    def _position(self, state: Dict[str, Any]) -> int:
        """Batches of this worker that the state has behind it, rounded down: none is lost."""
        position, now = int(state.get("iterations_in_epoch", 0)), len(self.frozen_batches)
        here: Any = self.num_shards
        workers, then = int(state.get("num_shards", here)), int(state.get("num_batches", now))
        if position == 0 or (workers, then) == (here, now):
            return position
        done = min(position * workers, then - 1) * now // then
        logger.warning(
            "the checkpoint was written by %d workers, %d batches into an epoch of %d; %d go on %d batches into %d",
            *(workers, position * workers, then, here, done // here * here, now),
        )
        return int(done // here)

    def _get_iterator_for_epoch(self, epoch: int, *args: Any, **kwargs: Any) -> Any:
        batches = super()._get_iterator_for_epoch(epoch, *args, **kwargs)
        if batches is None:  # an offset past the end, as in fairseq
            return None
        size = self._update_freq[min(epoch, len(self._update_freq)) - 1]
        start, total = batches.n, len(batches)
        return CountingIterator(self._annotated(batches, size), start=start, total=total)

    def _annotated(self, batches: Iterator[Sample], size: int) -> Iterator[Sample]:
        group: List[Sample] = []
        for batch in batches:
            group.append(batch if batch else self._padding_batch())
            if len(group) == size:
                yield from annotate(group, self._count)
                group = []
        yield from annotate(group, self._count)

    def _padding_batch(self) -> Sample:
        batch = dict(self.first_batch)
        batch["target"] = torch.full_like(batch["target"], self._pad)
        batch["ntokens"] = batch["nsentences"] = 0
        return batch
