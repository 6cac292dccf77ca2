"""What the KL's sum is divided by, and the weight that goes with each choice."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from sld_user_dir.errors import InputError
from sld_user_dir.losses.positions import Positions

SENTENCE, TOKEN = "sentence", "token"

# 0.008 was tuned by the authors for a sum over the utterance; 3.2 = 0.008 * 400 pulls equally hard on an utterance of
# 400 positions.
DEFAULT_KL_WEIGHT = {SENTENCE: 0.008, TOKEN: 3.2}


def kl_weight(options: Any) -> float:
    """alpha: `kl_weight`, or where it is None the default of `kl_denominator`."""
    weight = options.kl_weight
    return DEFAULT_KL_WEIGHT[str(options.kl_denominator)] if weight is None else float(weight)


def check_kl(denominator: str, temperature: float, smoothing: float = 0.0) -> None:
    """Refuse settings that make no KL.

    Raises:
        InputError: names the option.
    """
    if denominator not in DEFAULT_KL_WEIGHT:
        raise InputError(f"--kl-denominator {denominator}", "no such denominator", f"choose {SENTENCE} or {TOKEN}")
    if not 0 < temperature < math.inf:
        raise InputError(f"--kl-temperature {temperature}", "no temperature", "choose a finite one above 0")
    check_smoothing("--kl-smoothing", smoothing)


def check_smoothing(option: str, smoothing: float) -> None:
    """Refuse a mass that is none.

    Raises:
        InputError: outside [0, 1].
    """
    if not 0 <= smoothing <= 1:
        raise InputError(f"{option} {smoothing}", "smoothing is a share of the target's mass", "choose it in [0, 1]")


def kl_divisor(denominator: str, covered: Tensor, at: Positions) -> Tensor:
    """The number of sentences with a prompt of speech, or of the KL's positions `covered` (n,) bool; 0-dim."""
    if denominator == TOKEN:
        return covered.sum()
    return at.count_sentences(at.has_speech_prompt & ~at.is_padding)
