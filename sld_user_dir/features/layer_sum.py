"""Several layers of an encoder as one: their weighted sum (`--layers`, `--layer-weights`).

As in SUPERB (Yang et al. 2021, arXiv 2105.01051): a frame is the sum of w_l h_l over the hidden states h_l of layers l,
with weights of 0 or more that sum to 1. Here `--normalise` brings each layer to mean 0 and variance 1 before the sum,
so that a frame is linear in the weights whatever the other options are: they can be learnt from the states alone.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Tuple

import numpy as np

from sld_user_dir.arrays import FloatArray
from sld_user_dir.errors import InputError


@dataclass(frozen=True)
class LayerSum:
    """Which layers, and how much of each.

    Attributes:
        layers: counted as `--layer` counts.
        weights: one of each layer; they sum to 1.
    """

    layers: Tuple[int, ...]
    weights: Tuple[float, ...]

    @classmethod
    def parse(cls, layers: str, weights: Optional[str] = None) -> LayerSum:
        """Of `--layers` and `--layer-weights`, which is None for equal ones.

        Raises:
            InputError: no layers, or no weights of them.
        """
        try:
            numbers = tuple(int(part) for part in layers.split(","))
        except ValueError:
            raise InputError(f"--layers {layers}", "no numbers of layers", "give them as in 6,9,12") from None
        if min(numbers) < 0 or len(set(numbers)) < len(numbers):
            remedy = "name each once; they count from 0, the first block's input"
            raise InputError(f"--layers {layers}", "a layer below 0, or one twice", remedy)
        return cls(numbers, _shares(weights, numbers) if weights is not None else (1 / len(numbers),) * len(numbers))

    @classmethod
    def of_features(cls, features: Mapping[str, Any]) -> Optional[LayerSum]:
        """Of the features that a k-means file states; None where they are of one layer, or of an encoder without."""
        layers = features.get("layers")
        return cls.parse(layers, features.get("layer_weights")) if layers else None

    @property
    def name(self) -> str:
        """For the encoder's name in the provenance: changes with the layers and with the weights."""
        layers = ",".join(map(str, self.layers))
        if len(set(self.weights)) == 1:
            return f"+layers{layers}"
        return f"+layers{layers}@{hashlib.sha256(weights_text(self.weights).encode()).hexdigest()[:12]}"

    def apply(self, states: FloatArray) -> FloatArray:
        """Frames (T, D) of hidden states side by side, (T, L * D)."""
        n_layers = len(self.layers)
        by_layer = states.reshape(len(states), n_layers, states.shape[1] // n_layers)
        summed: FloatArray = np.einsum("tld,l->td", by_layer, np.array(self.weights, np.float32))
        return summed


def weights_text(weights: Sequence[float]) -> str:
    """As `--layer-weights` takes them, and a k-means file states them: float32 values survive it."""
    return ",".join(f"{one:.9g}" for one in weights)


def _shares(text: str, layers: Tuple[int, ...]) -> Tuple[float, ...]:
    where = f"--layer-weights {text}"
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(where, "no numbers", "give one weight a layer, as in 0.2,0.5,0.3") from None
    if len(weights) != len(layers):
        problem = f"{len(weights)} weights for {len(layers)} layers ({','.join(map(str, layers))})"
        raise InputError(where, problem, "give one weight a layer")
    total = math.fsum(weights)
    if not (min(weights) >= 0 and 0 < total < math.inf):
        raise InputError(where, "weights that are below 0, all 0, or no numbers", "give weights of 0 or more")
    return tuple(one / total for one in weights)
