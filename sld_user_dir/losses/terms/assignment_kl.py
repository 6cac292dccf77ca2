"""A KL whose target is what the quantiser makes of the frame itself (`--kl-variant assignment`).

    q_k = p_k of the frame (`quantisation/differentiable_kmeans.py`) over the m most probable units, made to sum to 1
    KL  = sum_k q_k log q_k + logsumexp(z^s / T) - 1/T sum_k q_k z^s_k

with the symbols of `smoothed_kl`. For units that are learnt with the model (`--learn-units`) alone: a manifest holds no
distances of frames. It is a choice of this package. By default the target is a constant, so that the quantiser learns
from the text alone how it should hear; with `--kl-target-gradient` it also learns to make units that are easy to
predict, which one unit for all frames would be the easiest of: see `--unit-collapse-weight`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Optional

import torch
from torch import Tensor

from sld_user_dir.errors import InputError
from sld_user_dir.losses.divisors import check_kl, kl_divisor, kl_weight
from sld_user_dir.losses.positions import Positions
from sld_user_dir.losses.statistics import Statistics
from sld_user_dir.losses.term import LOSS_ON_SPEECH, Context, PositionTerm, register_term


@dataclass
class AssignmentOptions:
    """Options beside those of `smoothed_kl` and of `centroid_kl`, whose `--kl-neighbours` is m."""

    kl_target_gradient: bool = field(
        default=False,
        metadata={
            "help": "of --kl-variant assignment: the gradient goes through the target, too, into the quantiser; "
            "the loss is then computed from full logits"
        },
    )


@register_term
@dataclass(frozen=True)
class AssignmentKL(PositionTerm):
    """T^2 KL(q || softmax(z^s / T)), over the targets that are speech units of a prompt."""

    name = "kl"
    variant = "assignment"
    variant_help = "as 'paper' but for its target, the probabilities of the frame's units; for --learn-units"
    Options = AssignmentOptions
    features = frozenset({LOSS_ON_SPEECH})

    weight: float = 0.008
    neighbours: int = 10
    temperature: float = 1.0
    denominator: str = "sentence"
    differentiates_target: bool = False

    def __post_init__(self) -> None:
        check_kl(self.denominator, self.temperature)
        if self.neighbours < 1:
            raise InputError(
                f"--kl-neighbours {self.neighbours}", "a target lies on one unit at least", "take 1 or more"
            )

    @classmethod
    def from_options(cls, options: Any, context: Context) -> Optional[AssignmentKL]:
        alpha = kl_weight(options)
        denominator, gradient = str(options.kl_denominator), options.kl_target_gradient
        term = cls(alpha, options.kl_neighbours, options.kl_temperature, denominator, gradient)
        return term if alpha else None

    def positions(self, at: Positions) -> Tensor:
        return at.is_unit & at.has_speech_prompt & ~at.is_answer

    def with_sparse_target(self, at: Positions) -> Positions:
        if at.frame is None or at.posteriors is None:
            raise InputError("--kl-variant assignment", "its targets need frames", "add --learn-units")
        log_p = at.posteriors.log_probabilities
        if not self.differentiates_target:
            log_p = log_p.detach()
        best, units = log_p.topk(min(self.neighbours, log_p.size(1)), dim=1)
        masses, frame = torch.softmax(best, dim=1), at.frame.clamp(min=0)
        return replace(at, sparse_ids=units[frame] + at.layout.unit_offset, sparse_masses=masses[frame])

    def value(self, stats: Statistics, at: Positions) -> Tensor:
        assert at.sparse_masses is not None
        masses = at.sparse_masses.to(stats.tempered.dtype)
        negentropy = (masses * masses.clamp(min=1e-30).log()).sum(1)  # xlogy has no gradient at 0
        return self.temperature**2 * (negentropy + stats.tempered - stats.sparse / self.temperature)

    def divisor(self, at: Positions) -> Tensor:
        return kl_divisor(self.denominator, self.positions(at), at)
