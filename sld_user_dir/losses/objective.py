"""What a training minimises: weights and variants of the losses (no torch, nothing of this package).

The equations that these symbols stand in are in `losses.py`.
"""

import math
from dataclasses import dataclass
from typing import Tuple


@dataclass(frozen=True)
class Objective:
    """Weights and variants; the defaults are the authors' recipe with the paper's KL target."""

    text_weight: float = 1.0
    speech_weight: float = 1.0
    kl_weight: float = 0.008
    kl_variant: str = "paper"  # or "official", or "centroid"
    kl_denominator: str = "sentence"  # or "token"
    temperature: float = 1.0
    smoothing: float = 0.1
    text_label_smoothing: float = 0.0
    speech_label_smoothing: float = 0.0
    speech_within_units: bool = False  # speech CE: lse over the K units instead of all of V
    speech_target_weight: float = 1.0  # of answers in speech; a mixture of tasks alone has any
    prompt_text: bool = True  # whether CE_text covers prompts in text (a mixture's `tts`)

    def __post_init__(self) -> None:
        if self.kl_variant not in ("paper", "official", "centroid"):
            raise ValueError(f"kl_variant must be 'paper', 'official' or 'centroid', not {self.kl_variant!r}")
        if self.kl_denominator not in ("token", "sentence"):
            raise ValueError(f"kl_denominator must be 'token' or 'sentence', not {self.kl_denominator!r}")
        weights = (self.text_weight, self.speech_weight, self.kl_weight)
        if min(*weights, self.speech_target_weight) < 0 or not any(weights):
            raise ValueError(f"no weight may be below 0, and one must be above it: {weights}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")
        for name in ("smoothing", "text_label_smoothing", "speech_label_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], not {getattr(self, name)}")

    @property
    def official(self) -> bool:
        return self.kl_variant == "official"

    def kl_target(self, num_units: int) -> Tuple[float, float]:
        """(a, b): the KL target's mass on the unit y and on each other unit.

        `paper`: q = (1-eps) [k = y] + eps/K. `official`: softmax(q / T); the 1e-9 that the
        authors add to q cancels in that softmax.
        """
        if self.kl_variant == "centroid":
            raise ValueError("the target of kl_variant 'centroid' takes more than two values")
        if not self.official:
            other = self.smoothing / num_units
            return 1 - self.smoothing + other, other
        odds = math.exp((1 - self.smoothing) / self.temperature)
        return odds / (odds + num_units - 1), 1 / (odds + num_units - 1)


def effective_label_smoothing(objective: Objective, num_units: int, mean_length: float) -> float:
    """lambda of the label smoothing that CE_speech and the KL together amount to, at T = 1.

    With the KL summed over tokens and divided by sentences, and N speech tokens a sentence on
    average, both together have inside the units the gradient of (1 + r) times a cross-entropy
    against (1-lambda) one-hot + lambda/K, where r = alpha N / w_speech and
    lambda = K b r / (1 + r). With the KL divided by its tokens, r = alpha / w_speech.
    """
    if objective.temperature != 1:
        raise ValueError("the equivalence holds at temperature 1 only")
    length = mean_length if objective.kl_denominator == "sentence" else 1.0
    strength = objective.kl_weight * length
    _, other = objective.kl_target(num_units)
    return num_units * other * strength / (objective.speech_weight + strength)
