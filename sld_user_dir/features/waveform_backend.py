"""What backends have in common whose convolutions read the waveform itself, as the wav2vec 2.0 family's do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from torch import Tensor


class WaveformBackend:
    """Base of such an `EncoderBackend` of `features.chunked_encoder`."""

    model: Any

    def in_model_precision(self, wave: Tensor) -> Tensor:
        """A waveform in float32 in the precision of the weights."""
        return wave.to(next(self.model.parameters()).dtype)

    def peak(self, wave: Tensor) -> Optional[float]:
        """Nothing: the waveform is normalised before it is cut."""
        return None
