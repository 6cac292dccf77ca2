"""Encoder, normalisation and stacking as one object: waveforms to the frames that are clustered."""

from __future__ import annotations

from typing import Dict, List, Optional

import numpy as np

from sld_user_dir.arrays import FloatArray
from sld_user_dir.features.cmvn import CmvnStats, normalise
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, FrameEncoder, load_encoder
from sld_user_dir.features.stacking import stack_frames, stacked_length


class FrontEnd:
    """Encoder, normalisation and stacking: waveforms -> the frames that are clustered."""

    def __init__(self, encoder: FrameEncoder, config: FeatureConfig) -> None:
        self._encoder = encoder
        self.config = config
        self.sample_rate_hz = encoder.sample_rate_hz
        self.layer = encoder.layer
        self.model_name = encoder.model_name
        self._layer_sum = config.layer_sum
        self._warped: Dict[float, FrontEnd] = {1.0: self}
        self.encoded_dim = encoder.dim * config.stack  # of all layers
        self.dim = self.encoded_dim // (1 if self._layer_sum is None else len(self._layer_sum.layers))
        self.frame_rate_hz = encoder.frame_rate_hz / config.stack

    @property
    def encoder(self) -> str:
        """Names all that changes the features, for provenance: `mfcc-39:8000Hz:mel23+cmvn-speaker+stack4`."""
        name = self._encoder.encoder
        if self.config.normalise != "none":
            name += f"+cmvn-{self.config.normalise}"
        name += "" if self._layer_sum is None else self._layer_sum.name
        return name + (f"+stack{self.config.stack}" if self.config.stack > 1 else "")

    @property
    def on_gpu(self) -> bool:
        """Whether the encoder runs on a GPU."""
        return getattr(self._encoder, "on_gpu", False)

    @property
    def wants_speakers(self) -> bool:
        """Statistics of each speaker must be gathered before frames can be made."""
        return self.config.normalise == "speaker"

    def n_frames(self, n_samples: int) -> int:
        """Frames of a waveform of that many samples (at `sample_rate_hz`)."""
        return stacked_length(self._encoder.n_frames(n_samples), self.config.stack)

    def warped(self, factor: float) -> FrontEnd:
        """The same for a speaker whose vocal tract is warped by a factor; 1 is this.

        Raises:
            EncoderError: the encoder cannot.
        """
        if factor not in self._warped:
            warp = getattr(self._encoder, "warped", None)
            if warp is None:
                problem = f"cannot warp the vocal tract of a recording (by {factor:g})"
                raise EncoderError(f"--features {self.model_name}", problem, "take mfcc, or a list without --warps")
            self._warped[factor] = FrontEnd(warp(factor), self.config)
        return self._warped[factor]

    def __call__(self, wave: FloatArray, speaker: Optional[CmvnStats] = None) -> FloatArray:
        """Frames (T, dim) of one waveform at `sample_rate_hz`."""
        return self.encode_batch([wave], [speaker])[0]

    def encode_batch(
        self, waves: List[FloatArray], speakers: Optional[List[Optional[CmvnStats]]] = None
    ) -> List[FloatArray]:
        """Frames of each waveform, with its speaker's statistics where they are wanted."""
        batch = self._encoder.encode_batch(waves)
        return [self._finish(frames, speakers[i] if speakers else None) for i, frames in enumerate(batch)]

    def layer_frames(self, wave: FloatArray, speaker: Optional[CmvnStats] = None) -> FloatArray:
        """Frames (T, L, dim) of each of `--layers`; their weighted sum is that of `__call__`."""
        states = self._normalised(self._encoder.encode_batch([wave])[0], speaker)
        layers = np.split(states, self.encoded_dim // self.dim, axis=1)
        return np.stack([stack_frames(np.ascontiguousarray(one), self.config.stack) for one in layers], axis=1)

    def working_bytes(self) -> int:
        """Upper estimate of the memory that encoding takes, beside audio and frames."""
        return self._encoder.working_bytes()

    def add_speaker_stats(self, wave: FloatArray, stats: CmvnStats) -> None:
        """Take a waveform into its speaker's statistics (before stacking, as they are used)."""
        stats.add(self._encoder.encode_batch([wave])[0])

    def new_stats(self) -> CmvnStats:
        """Empty statistics for one speaker."""
        return CmvnStats(self._encoder.dim)

    def _finish(self, frames: FloatArray, speaker: Optional[CmvnStats]) -> FloatArray:
        frames = self._normalised(frames, speaker)
        if self._layer_sum is not None:
            frames = self._layer_sum.apply(frames)
        return stack_frames(frames, self.config.stack)

    def _normalised(self, frames: FloatArray, speaker: Optional[CmvnStats]) -> FloatArray:
        if self.config.normalise == "speaker" and speaker is None:
            raise ValueError("normalise 'speaker' wants the speaker's statistics")
        return frames if self.config.normalise == "none" else normalise(frames, speaker)


def build_front_end(config: FeatureConfig, device: str = "auto", batch_seconds: float = 60.0) -> FrontEnd:
    """The front end of a description; the arguments as of `load_encoder`."""
    return FrontEnd(load_encoder(config, device, batch_seconds), config)
