"""What a training minimises: the sum of its terms, each a weight times a sum over a divisor.

    L = sum over terms of  weight * sum / divisor

Every divisor counts the whole update, all workers and all its batches (`normalisation`). Which terms there are is no
concern of this module, nor of the fused kernel: both loop.
"""

from __future__ import annotations

import math
from typing import FrozenSet, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from sld_user_dir.compatibility import Conflict
from sld_user_dir.errors import InputError
from sld_user_dir.losses.positions import Positions
from sld_user_dir.losses.statistics import Statistics, statistics_of
from sld_user_dir.losses.term import Measure, PositionTerm, SequenceTerm, Term, sum_where


class Objective:
    """The terms of a training.

    Attributes:
        terms: all, those of positions first.
        position_terms, sequence_terms: the two kinds.
        temperature: T of `Statistics.tempered`.
        update: number of the update that the loss is for, where weights have a schedule; None: the training has ended.

    Raises:
        InputError: no term, a weight below 0 or not finite, or terms of different temperatures.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        self.position_terms = [term for term in terms if isinstance(term, PositionTerm)]
        self.sequence_terms = [term for term in terms if isinstance(term, SequenceTerm)]
        self.terms: List[Term] = [*self.position_terms, *self.sequence_terms]
        if not self.position_terms or not all(0 <= term.weight < math.inf for term in terms):
            weights = {term.name: term.weight for term in terms}
            raise InputError(
                None, f"weights {weights} make no objective", "no weight may be below 0, and one must be above it"
            )
        temperatures = {term.temperature for term in self.position_terms} - {1.0}
        if len(temperatures) > 1:
            raise InputError(None, f"terms of temperatures {sorted(temperatures)}", "choose one temperature for all")
        self.temperature = temperatures.pop() if temperatures else 1.0
        self.update: Optional[int] = None

    @property
    def features(self) -> FrozenSet[str]:
        """What the terms bring that other options may exclude."""
        return frozenset().union(*(term.features for term in self.terms))

    @property
    def conflicts(self) -> Tuple[Conflict, ...]:
        return tuple(conflict for term in self.terms for conflict in term.conflicts)

    @property
    def differentiates_targets(self) -> bool:
        """Whether a term's gradient goes through its target: then the plain form computes it."""
        return any(term.differentiates_target for term in self.terms)

    def select(self, at: Positions) -> Positions:
        """The positions that take part in some term, with what the terms look up for each."""
        covered = torch.stack([term.positions(at) for term in self.position_terms])
        chosen = at.take(covered.any(0))
        for term in self.position_terms:
            chosen = term.with_sparse_target(chosen)
        return chosen

    def divisors(self, at: Positions) -> Tensor:
        """(terms,) int64: what this batch adds to each term's divisor; `at` are all its positions."""
        return torch.stack([term.divisor(at) for term in self.terms])

    def total(self, stats: Statistics, at: Positions, divisors: Tensor) -> Tensor:
        """The loss of the position terms (nats, 0-dim), linear in the statistics.

        Args:
            at: selected positions.
            divisors: (terms,) of the whole update; a sum over nothing is divided by 1.
        """
        total = stats.full.new_zeros(())
        for term, divisor in zip(self.position_terms, divisors):
            value = sum_where(term.positions(at), term.value(stats, at))
            total = total + term.weight_at(self.update) * value / divisor.clamp(min=1)
        return total

    def measures(self, stats: Statistics, at: Positions, correct: Tensor, own: Tensor) -> List[Measure]:
        """What the position terms log of this batch.

        Args:
            stats: detached.
            correct: (n,) bool, the target has the greatest logit.
            own: (terms,) the batch's own divisors.
        """
        found: List[Measure] = []
        for term, divisor in zip(self.position_terms, own):
            weight = term.weight_at(self.update)
            value = weight * sum_where(term.positions(at), term.value(stats, at))
            found.append(Measure(f"loss_{term.name}", value, divisor))
            if weight:  # else the fused form leaves its positions out: nothing is known of them, and 0 would be a claim
                found += term.measures(stats, at, correct)
        return found

    def sequence_losses(
        self, outputs: Tensor, matrix: Optional[Tensor], target: Tensor, divisors: Tensor, own: Tensor
    ) -> Tuple[Tensor, List[Measure]]:
        """The loss of the sequence terms (nats.

        0-dim), and what they log; the first arguments as of `SequenceTerm.sum`.

        Args:
            divisors: (terms,) of the whole update.
            own: (terms,) of this batch.
        """
        total = outputs.new_zeros((), dtype=torch.float32)
        found: List[Measure] = []
        places = slice(len(self.position_terms), None)
        for term, divisor, count in zip(self.sequence_terms, divisors[places], own[places]):
            value, measures = term.sum(outputs, matrix, target)
            value = term.weight_at(self.update) * value
            total = total + value / divisor.clamp(min=1)
            found += [Measure(f"loss_{term.name}", value.detach(), count), *measures]
        return total, found


def plain_loss(
    logits: Tensor, at: Positions, objective: Objective, divisors: Tensor
) -> Tuple[Tensor, Statistics, Tensor]:
    """The loss of ready-made logits (B, L, V), by autograd.

    Args:
        at: selected positions.
        divisors: (terms,) of the whole update.

    Returns:
        the loss (0-dim, nats); its detached statistics; for each position whether its target has the greatest logit,
        (n,) bool.
    """
    selected = logits.reshape(-1, logits.size(-1))[at.index]
    stats = statistics_of(selected, at, objective.temperature)
    loss = objective.total(stats, at, divisors)
    detached = Statistics(*(one.detach() for one in stats))
    top = selected.detach().amax(1) if len(at) else detached.target
    correct = selected.detach().gather(1, at.target[:, None]).squeeze(1) >= top
    return loss, detached, correct
