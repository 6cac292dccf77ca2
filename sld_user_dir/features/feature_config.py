"""One description of the features, `FeatureConfig`.

The k-means file stores it, so units are always extracted by the features that the centroids were trained on, and the
unit manifest's provenance is composed from it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, Optional, Tuple

from sld_user_dir.errors import InputError
from sld_user_dir.features.layer_sum import LayerSum

NORMALISATIONS = ("none", "utterance", "speaker")
ADDED_LATER = ("layers", "layer_weights")
"""Options that k-means files state only where they are given: files without them keep their bytes."""


@dataclass(frozen=True)
class FeatureConfig:
    """Everything that changes the features; devices and batch sizes do not belong here."""

    features: str = "mfcc"
    """`mfcc`, or a HuBERT, WavLM, wav2vec 2.0 or Whisper model: a local directory or hub name in
    Hugging Face's form, or a fairseq checkpoint ending in .pt"""

    sample_rate_hz: int = 16000
    """audio is resampled to this rate; 8000 suits telephone speech with MFCC"""

    layer: Optional[int] = None
    """transformer block whose output is taken, counted from 1; 0 is the first block's input"""

    normalise: str = "none"
    """mean and variance of each dimension: `none`, `utterance`, or `speaker` (all the
    recordings that the audio manifest gives a speaker)"""

    stack: int = 1
    """frames put side by side: 4 makes 40 ms units of MFCC, 2 of HuBERT's 20 ms frames"""

    fp16: bool = False
    """run a neural encoder in half precision (GPU only)"""

    chunk_seconds: Optional[float] = None
    """longer recordings go through a neural encoder in pieces of this length; default: 30, and where the model has
    positions for a limited time, as Whisper has for 30 seconds, what the context leaves of it"""

    context_seconds: float = 2.0
    """speech that a piece sees on either side of itself"""

    pad_to_seconds: Optional[float] = None
    """Whisper alone: fill what is shorter up with silence to this length, 30 as it was trained; default: do not"""

    layers: Optional[str] = None
    """in place of --layer: several, as in 6,9,12, of which the weighted sum is taken"""

    layer_weights: Optional[str] = None
    """of --layers: a weight of each, as in 0.2,0.5,0.3, brought to a sum of 1; default: equal ones"""

    def __post_init__(self) -> None:
        if self.normalise not in NORMALISATIONS:
            raise InputError(
                f"--normalise {self.normalise}", "no such normalisation", f"choose one of {', '.join(NORMALISATIONS)}"
            )
        if self.stack < 1:
            raise InputError(f"--stack {self.stack}", "no frames to a unit", "stack 1 frame or more")
        if self.sample_rate_hz < 1:
            raise InputError(f"--sample-rate-hz {self.sample_rate_hz}", "no sample rate", "take 8000 or 16000")
        for option, seconds in (("chunk", self.chunk_seconds), ("pad-to", self.pad_to_seconds)):
            if seconds is not None and not seconds > 0:
                raise InputError(f"--{option}-seconds {seconds:g}", "pieces of no length", "take a length above 0")
        if not self.context_seconds >= 0:
            raise InputError(f"--context-seconds {self.context_seconds:g}", "less than no context", "take 0 or more")
        self._check_layers()

    def _check_layers(self) -> None:
        if self.layers is not None and self.layer is not None:
            where = f"--layer {self.layer} --layers {self.layers}"
            raise InputError(where, "one layer, or a sum of several", "leave one of the two out")
        if self.layer_weights is not None and self.layers is None:
            raise InputError(f"--layer-weights {self.layer_weights}", "weights of no layers", "name them by --layers")
        if self.layers is not None:
            LayerSum.parse(self.layers, self.layer_weights)

    @property
    def layer_sum(self) -> Optional[LayerSum]:
        """Of `--layers`."""
        return None if self.layers is None else LayerSum.parse(self.layers, self.layer_weights)

    @property
    def layer_numbers(self) -> Tuple[int, ...]:
        """All layers that are taken."""
        if self.layer_sum is not None:
            return self.layer_sum.layers
        return () if self.layer is None else (self.layer,)

    def to_dict(self) -> Dict[str, Any]:
        """As the k-means file stores it."""
        return {name: value for name, value in asdict(self).items() if name not in ADDED_LATER or value is not None}
