"""What label smoothing a cross-entropy on speech and a KL together amount to; docs/losses.md derives it."""

from __future__ import annotations

from typing import Union

from sld_user_dir.losses.divisors import SENTENCE
from sld_user_dir.losses.terms.official_kl import OfficialKL
from sld_user_dir.losses.terms.smoothed_kl import SmoothedKL


def effective_label_smoothing(
    kl: Union[SmoothedKL, OfficialKL], speech_weight: float, num_units: int, mean_length: float
) -> float:
    """lambda of the label smoothing that CE_speech and the KL together amount to, at T = 1.

    With the KL summed over tokens and divided by sentences, and N speech tokens a sentence on average, both together
    have inside the units the gradient of (1 + r) times a cross-entropy against (1-lambda) one-hot + lambda/K, where r
    = alpha N / w_speech and lambda = K b r / (1 + r). With the KL divided by its tokens, r = alpha / w_speech.

    Args:
        mean_length: N.

    Raises:
        ValueError: another temperature, at which the two have different softmaxes.
    """
    if kl.temperature != 1:
        raise ValueError("the equivalence holds at temperature 1 only")
    strength = kl.weight * (mean_length if kl.denominator == SENTENCE else 1.0)
    _, other = kl.target(num_units)
    return num_units * other * strength / (speech_weight + strength)
