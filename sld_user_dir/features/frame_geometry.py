"""Where the frames of a neural encoder lie on the samples of its waveform."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Protocol, Tuple


class FrameGeometry(Protocol):
    """How frames and samples correspond.

    The samples of a `span` must give just its frames when they are encoded by themselves: so the pieces of a long
    recording join to exactly `n_frames` frames.
    """

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""

    def n_frames(self, n_samples: int) -> int:
        """Frames of a waveform of that many samples."""

    def span(self, first: int, last: int, n_samples: int) -> Tuple[int, int]:
        """Start and end (exclusive) of the samples that make the frames from `first` to `last` (exclusive).

        Args:
            n_samples: length of the whole waveform, whose last frame may see more samples than others.
        """

    def peak_values(self, n_samples: float) -> float:
        """Values of the largest intermediate result on so many samples: what memory is planned by."""


@dataclass(frozen=True)
class ConvolutionGeometry:
    """Convolutions over the waveform, without padding, as wav2vec 2.0 and its relatives have them."""

    kernels: Tuple[int, ...]
    strides: Tuple[int, ...]
    channels: int = 512
    """of the first convolution, whose output is the largest"""

    @property
    def hop(self) -> int:
        """Samples from one frame to the next: 320 of wav2vec 2.0."""
        return math.prod(self.strides)

    @property
    def receptive_field(self) -> int:
        """Samples that a frame sees: 400 of wav2vec 2.0."""
        field, hop = 1, 1
        for kernel, stride in zip(self.kernels, self.strides):
            field += (kernel - 1) * hop
            hop *= stride
        return field

    def n_frames(self, n_samples: int) -> int:
        """Whole receptive fields only: (n_samples - 400) // 320 + 1 of wav2vec 2.0."""
        return 0 if n_samples < self.receptive_field else (n_samples - self.receptive_field) // self.hop + 1

    def span(self, first: int, last: int, n_samples: int) -> Tuple[int, int]:
        """From the first frame's first sample to the last one's last."""
        return first * self.hop, (last - 1) * self.hop + self.receptive_field

    def peak_values(self, n_samples: float) -> float:
        """The first convolution's output."""
        return self.channels * n_samples / self.strides[0]


@dataclass(frozen=True)
class EncoderTraits:
    """What is known of an encoder's model besides its weights; all of it but `geometry` and `dim` names the encoder."""

    model_type: str
    sample_rate_hz: int
    dim: int
    geometry: FrameGeometry
    wave_norm_eps: Optional[float] = None
    """the waveform is brought to mean 0 and variance 1 with this epsilon; None: it is left as it is"""
    max_frames: Optional[int] = None
    """frames that the model has positions for; None: any number"""
    padded_frames: int = 0
    """frames up to which the model fills shorter pieces with silence"""
