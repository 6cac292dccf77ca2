"""Divisors that are exact over workers and over accumulated batches.

Every term is divided by a number of its own (text tokens, speech tokens, sentences), and a framework's single sample
size can't carry several. So the divisors of a whole update are known before its first forward pass: `annotate` writes
this worker's part into each of its batches, and one all-reduce of a few integers adds up the workers. Each batch then
returns its share of the finished loss, and sample sizes that sum to 1, by which a framework's own division changes
nothing.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from torch import Tensor

Batch = Dict[str, Any]
UPDATE = "update_divisors"
"""Key of a batch: {"totals": (terms,) int64, summed over the update's batches of this worker; "batches": their "
"number}."""


def annotate(group: List[Batch], count: Callable[[Batch], Tensor]) -> List[Batch]:
    """Write the totals of the batches of one update into each of them; returns the group.

    Args:
        count: maps a collated batch to its divisors (terms,).
    """
    if group:
        totals = torch.stack([count(batch) for batch in group]).sum(0)
        for batch in group:
            batch[UPDATE] = {"totals": totals, "batches": len(group)}
    return group


def update_divisors(
    batch: Batch, own: Tensor, add_up_workers: Optional[Callable[[Tensor], int]] = None
) -> Tuple[Tensor, float]:
    """The divisors (terms,) of the whole update, and the batch's share of it as a sample size.

    Without an annotation each batch is normalised by itself, and the framework averages the batches' losses.

    Args:
        own: the batch's divisors (terms,).
        add_up_workers: sums a tensor over all workers, in place, and returns their number. In training every worker
            must call it equally often. None in evaluation, where the batch stands for itself.
    """
    if add_up_workers is None:
        return own, 1.0
    update = batch.get(UPDATE)
    totals = own.clone() if update is None else update["totals"].to(own.device, copy=True)
    workers = add_up_workers(totals)
    return totals, 1 / (workers * (1 if update is None else update["batches"]))
