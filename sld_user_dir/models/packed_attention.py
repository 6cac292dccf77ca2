"""Attention within each utterance of a packed row, by the kernels for ordinary batches.

Only attention needs to know where utterances end. So it alone unpacks them: the queries, keys and
values of a row (T, C) are spread over a right-padded buffer, attend there, and are gathered again,
while all matrix products, norms and losses run over the T tokens. That is block-diagonal attention
without a mask, hence by the flash kernels. To pad little in there, utterances of similar length make
a group: the buffer holds groups one after the other, each (utterances, longest of them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Tuple

import numpy as np
import torch
from torch import Tensor

SHORTEST_IN_GROUP = 0.8
"""An utterance joins a group if it is no shorter than this share of the group's longest."""


@dataclass(frozen=True)
class Packing:
    """Where the tokens of a packed row stand in the buffer."""

    positions: Tensor  # (T,) of each token in its utterance, from 0
    slots: Tensor  # (T,) of each token in the buffer
    groups: Tuple[Tuple[int, int], ...]  # (utterances, longest) of each

    @classmethod
    def of(cls, lengths: Tensor) -> Packing:
        """The packing of utterances of these lengths (U,)."""
        sizes = np.asarray(lengths.tolist(), dtype=np.int64)
        order = np.argsort(-sizes, kind="stable")
        starts = np.empty_like(sizes)
        groups: List[Tuple[int, int]] = []
        first = used = 0
        while first < len(order):
            longest = int(sizes[order[first]])
            last = first + int(np.searchsorted(-sizes[order[first:]], -SHORTEST_IN_GROUP * longest, side="right"))
            members = order[first:last]
            starts[members] = used + longest * np.arange(len(members))
            groups.append((len(members), longest))
            first, used = last, used + longest * len(members)
        places = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        slots = places + np.repeat(starts, sizes)
        device = lengths.device
        return cls(torch.from_numpy(places).to(device), torch.from_numpy(slots).to(device), tuple(groups))

    def spread(self, x: Tensor) -> List[Tensor]:
        """(1, T, ...) to one (utterances, longest, ...) a group, zeros where there is no token."""
        sizes = [utterances * longest for utterances, longest in self.groups]
        buffer = x.new_zeros(sum(sizes), *x.shape[2:]).index_copy(0, self.slots, x[0])
        return [part.unflatten(0, group) for part, group in zip(buffer.split(sizes), self.groups)]

    def gather(self, groups: List[Tensor]) -> Tensor:
        """The inverse of `spread`."""
        return torch.cat([group.flatten(0, 1) for group in groups])[self.slots][None]
