"""What every loss needs to know of the logits of a position: eight numbers, in which all losses are linear.

A cross-entropy is a logsumexp minus a weighted sum of logits; a Kullback-Leibler divergence from a target that takes
few values is another one. So no [positions, V] target and no probabilities are ever built, and the fused form
(`fused`), which sees the logits a chunk at a time, has only these to hand over.

Symbols: z (V,) logits of a position over the joint vocabulary, z^s its last K, those of the units; y the target.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from sld_user_dir.losses.positions import Positions


class Statistics(NamedTuple):
    """One number for each of the n positions: every field is (n,)."""

    full: Tensor  # logsumexp(z)
    units: Tensor  # logsumexp(z^s)
    tempered: Tensor  # logsumexp(z^s / T)
    target: Tensor  # z_y
    unit_target: Tensor  # the logit of Positions.unit_target
    text_sum: Tensor  # sum over the V - K others of z
    unit_sum: Tensor  # sum over z^s
    sparse: Tensor  # sum_i mass_i z_i over Positions.sparse_ids


def statistics_of(logits: Tensor, at: Positions, temperature: float) -> Statistics:
    """Statistics by autograd.

    Args:
        logits: (n, V), one line for each position.
        temperature: T of `tempered`.
    """
    logits = logits if logits.element_size() == 8 else logits.float()
    text, units = logits.split([at.layout.unit_offset, at.layout.num_units], dim=1)
    lse_units = units.logsumexp(1)
    sparse = lse_units.new_zeros(len(lse_units))
    if at.sparse_ids is not None and at.sparse_masses is not None:
        sparse = (logits.gather(1, at.sparse_ids) * at.sparse_masses.to(logits.dtype)).sum(1)
    return Statistics(
        full=logits.logsumexp(1),
        units=lse_units,
        tempered=lse_units if temperature == 1 else (units / temperature).logsumexp(1),
        target=logits.gather(1, at.target[:, None]).squeeze(1),
        unit_target=logits.gather(1, at.unit_target[:, None]).squeeze(1),
        text_sum=text.sum(1),
        unit_sum=units.sum(1),
        sparse=sparse,
    )
