"""Smoothed Label Distillation: what the paper adds to the cross-entropies.

Source: Deng et al., "Loss Masking Is Not Needed in Decoder-only Transformer for Discrete-token-based ASR", ICASSP 2024,
arXiv 2311.04534.

The model learns its input, too: at every position whose next token is a speech unit y it is taught a smoothed label,

    KL(q || p) = sum_k q_k log(q_k / p_k),    q_k = (1 - eps) [k = y] + eps / K,    p = softmax(z^s / T)

    z^s   (K,) the logits of the K speech units alone, the last K of the joint vocabulary
    eps   smoothing: mass that is spread over all units
    T     temperature; the divergence is multiplied by T^2, so that its gradient does not shrink with T
    alpha weight

    loss  =  ... + alpha / D * sum over positions of T^2 KL(q || p)
    D     the number of sentences (the authors' choice, for which alpha = 0.008 was tuned), or of positions

q takes two values, a on y and b elsewhere, with (a - b) + K b = 1. Hence, with l = log p = z^s / T - logsumexp(z^s /
T),

    KL  =  a log a + (K - 1) b log b  -  [ (a - b) l_y + b sum_k l_k ]
        =  a log a + (K - 1) b log b  +  logsumexp(z^s / T)  -  [ (a - b) z^s_y + b sum_k z^s_k ] / T

which asks for one logsumexp, one logit and one sum. What the authors' program computes in its place is `official_kl`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Optional, Tuple

from torch import Tensor

from sld_user_dir.losses.divisors import check_kl, kl_divisor, kl_weight
from sld_user_dir.losses.positions import Positions
from sld_user_dir.losses.statistics import Statistics
from sld_user_dir.losses.term import LOSS_ON_SPEECH, Context, PositionTerm, register_term


@dataclass
class KLOptions:
    """Options of every variant of the KL."""

    kl_weight: Optional[float] = field(
        default=None,
        metadata={
            "help": "alpha, factor of the KL divergence from the smoothed target to the softmax "
            "over the speech units; 0: plain multimodal cross-entropy (default: 0.008 with "
            "--kl-denominator sentence, 3.2 with token)"
        },
    )
    kl_denominator: str = field(
        default="sentence",
        metadata={
            "choices": ("sentence", "token"),
            "help": "what the KL's sum over tokens is divided by: the number of sentences (the "
            "authors' choice; long utterances are then pulled harder) or of the KL's tokens",
        },
    )
    kl_temperature: float = field(
        default=1.0, metadata={"help": "T: the KL compares with softmax(z/T) and is multiplied by T^2"}
    )
    kl_smoothing: float = field(
        default=0.1, metadata={"help": "eps: mass of the KL's target that is spread over all units (not of 'centroid')"}
    )


@register_term
@dataclass(frozen=True)
class SmoothedKL(PositionTerm):
    """T^2 KL(q || p) of the paper, over the targets that are speech units of a prompt."""

    name = "kl"
    variant = "paper"
    variant_help = "target (1-eps) one-hot + eps/K, on speech targets"
    Options = KLOptions
    features = frozenset({LOSS_ON_SPEECH})

    weight: float = 0.008
    smoothing: float = 0.1
    temperature: float = 1.0
    denominator: str = "sentence"

    def __post_init__(self) -> None:
        check_kl(self.denominator, self.temperature, self.smoothing)

    @classmethod
    def from_options(cls, options: Any, context: Context) -> Optional[SmoothedKL]:
        alpha = kl_weight(options)
        term = cls(alpha, options.kl_smoothing, options.kl_temperature, str(options.kl_denominator))
        return term if alpha else None

    def positions(self, at: Positions) -> Tensor:
        return at.is_unit & at.has_speech_prompt & ~at.is_answer

    def target(self, num_units: int) -> Tuple[float, float]:
        """(a, b): the mass of q on the unit y and on each other one of the `num_units`."""
        b = self.smoothing / num_units
        return 1 - self.smoothing + b, b

    def value(self, stats: Statistics, at: Positions) -> Tensor:
        num_units = at.layout.num_units
        a, b = self.target(num_units)
        negentropy = _xlogx(a) + (num_units - 1) * _xlogx(b)
        dot = ((a - b) * stats.unit_target + b * stats.unit_sum) / self.temperature
        return self.temperature**2 * (negentropy + stats.tempered - dot)

    def divisor(self, at: Positions) -> Tensor:
        return kl_divisor(self.denominator, self.positions(at), at)


def _xlogx(x: float) -> float:
    return x * math.log(x) if x > 0 else 0.0
