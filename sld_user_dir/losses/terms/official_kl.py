"""The KL that the authors' program computes (`--kl-variant official`), which is not the one of their paper.

Source: the public program of Deng et al. (ICASSP 2024, arXiv 2311.04534); the facts below were read off it.

    s_k = (1 - eps) [k = y] + eps / K + 1e-9,    q = softmax(s / T),    p = softmax(z^s / T)

The smoothed label goes through a softmax of its own. Its entries lie between 0 and 1, which a softmax hardly tells
apart: at K = 6,000 and T = 1 the target has 4.1e-4 on y and 1.67e-4 elsewhere. In effect it pulls towards the uniform
distribution; docs/losses.md derives what that does. Besides,

- it covers every position of a sentence, text and separator too, where y is unit 0;
- at a position whose target is padding (the last token of a padded row, where the batch feeds it in) q is uniform;
- the separator counts as speech in the cross-entropy (`cross_entropy.SpeechCrossEntropy`).

With o = exp((1 - eps) / T) the target has a = o / (o + K - 1) on y and b = 1 / (o + K - 1) elsewhere; the 1e-9 cancels.
The closed form of a divergence from such a target is derived in `smoothed_kl`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional, Tuple

from torch import Tensor

from sld_user_dir.losses.divisors import check_kl, kl_divisor, kl_weight
from sld_user_dir.losses.positions import Positions
from sld_user_dir.losses.statistics import Statistics
from sld_user_dir.losses.term import LOSS_ON_SPEECH, Context, PositionTerm, register_term


@dataclass
class NoOptions:
    """Those of `smoothed_kl`."""


@register_term
@dataclass(frozen=True)
class OfficialKL(PositionTerm):
    """T^2 KL(softmax(s / T) || softmax(z^s / T)), over all positions of sentences with a prompt of speech."""

    name = "kl"
    variant = "official"
    variant_help = (
        "as the authors' program: that vector goes through a second softmax, which leaves it nearly uniform; on every "
        "position (unit 0 as the target of text); and the separator counts in CE_speech"
    )
    Options = NoOptions
    features = frozenset({LOSS_ON_SPEECH})

    weight: float = 0.008
    smoothing: float = 0.1
    temperature: float = 1.0
    denominator: str = "sentence"

    def __post_init__(self) -> None:
        check_kl(self.denominator, self.temperature, self.smoothing)

    @classmethod
    def from_options(cls, options: Any, context: Context) -> Optional[OfficialKL]:
        alpha = kl_weight(options)
        term = cls(alpha, options.kl_smoothing, options.kl_temperature, str(options.kl_denominator))
        return term if alpha else None

    def positions(self, at: Positions) -> Tensor:
        return at.has_speech_prompt

    def target(self, num_units: int) -> Tuple[float, float]:
        """(a, b): the mass of q on the unit y and on each other one of the `num_units`."""
        odds = math.exp((1 - self.smoothing) / self.temperature)
        return odds / (odds + num_units - 1), 1 / (odds + num_units - 1)

    def value(self, stats: Statistics, at: Positions) -> Tensor:
        num_units, flat = at.layout.num_units, 1 / at.layout.num_units
        a, b = self.target(num_units)
        negentropy = a * math.log(a) + (num_units - 1) * b * math.log(b)

        def choose(peaked: float, uniform: float) -> Tensor:
            return stats.full.new_tensor([peaked, uniform])[at.is_padding.long()]

        dot = (choose(a - b, 0.0) * stats.unit_target + choose(b, flat) * stats.unit_sum) / self.temperature
        return self.temperature**2 * (choose(negentropy, math.log(flat)) + stats.tempered - dot)

    def divisor(self, at: Positions) -> Tensor:
        return kl_divisor(self.denominator, self.positions(at), at)
