"""MFCC with deltas and delta-deltas, 39 values each 10 ms, by kaldi-native-fbank.

Kaldi's conventions: 25 ms povey windows, 23 mel bins from 20 Hz to Nyquist, 13 cepstra of
which the first is the log energy, lifter 22, 16-bit sample scale, `snip_edges` (only whole
windows), deltas over +-2 frames. Dither is off, so the same audio gives the same frames.
"""

from __future__ import annotations

from typing import Optional

import kaldi_native_fbank as knf
import numpy as np

from sld_user_dir.arrays import FloatArray
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import register_encoder
from sld_user_dir.features.warped_cepstra import WarpedCepstra

FRAME_SHIFT_MS = 10
FRAME_LENGTH_MS = 25
NUM_CEPSTRA = 13
INT16_SCALE = 32768.0  # Kaldi computes on 16-bit integers; its energies assume that scale


class MfccExtractor:
    """Waveform (n_samples,) at `sample_rate_hz` -> MFCC frames (T, 39) at 100 Hz."""

    dim = 3 * NUM_CEPSTRA
    layer: Optional[int] = None
    frame_rate_hz = 1000.0 / FRAME_SHIFT_MS
    model_name = "mfcc"

    def __init__(self, sample_rate_hz: int = 16000, num_mels: int = 23, warp: float = 1.0) -> None:
        self.sample_rate_hz, self._num_mels = sample_rate_hz, num_mels
        self._options = knf.MfccOptions()
        self._options.frame_opts.samp_freq = sample_rate_hz
        self._options.frame_opts.frame_shift_ms = FRAME_SHIFT_MS
        self._options.frame_opts.frame_length_ms = FRAME_LENGTH_MS
        self._options.frame_opts.dither = 0.0
        self._options.frame_opts.snip_edges = True
        self._options.mel_opts.num_bins = num_mels
        self._options.num_ceps = NUM_CEPSTRA
        self._cepstra = WarpedCepstra(self._options, warp) if warp != 1 else self._plain_cepstra
        self._deltas = knf.DeltaOptions(order=2, window=2)
        self._shift = sample_rate_hz * FRAME_SHIFT_MS // 1000
        self._window = sample_rate_hz * FRAME_LENGTH_MS // 1000
        self.encoder = f"mfcc-{self.dim}:{sample_rate_hz}Hz:mel{num_mels}"

    def n_frames(self, n_samples: int) -> int:
        """Frames of a waveform of `n_samples`: whole windows only."""
        if n_samples < self._window:
            return 0
        return 1 + (n_samples - self._window) // self._shift

    def __call__(self, wave: FloatArray) -> FloatArray:
        """MFCC of one waveform; (0, 39) where it is shorter than a window."""
        n_frames = self.n_frames(len(wave))
        if n_frames == 0:
            return np.zeros((0, self.dim), dtype=np.float32)
        cepstra = self._cepstra(wave * np.float32(INT16_SCALE))
        frames = np.asarray(knf.compute_deltas(self._deltas, cepstra), dtype=np.float32)
        assert frames.shape == (n_frames, self.dim)
        return frames

    def _plain_cepstra(self, wave: FloatArray) -> FloatArray:
        computer = knf.OnlineMfcc(self._options)
        computer.accept_waveform(self.sample_rate_hz, wave)
        computer.input_finished()
        return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])

    def warped(self, factor: float) -> MfccExtractor:
        """MFCC of a speaker whose vocal tract is warped by a factor."""
        return MfccExtractor(self.sample_rate_hz, self._num_mels, factor)

    def working_bytes(self) -> int:
        """Nothing to speak of: a recording at a time."""
        return 0

    def encode_batch(self, waves: list[FloatArray]) -> list[FloatArray]:
        """One array of frames for each waveform."""
        return [self(wave) for wave in waves]


@register_encoder("mfcc", claims=lambda features: features == "mfcc", has_layers=False)
def load(config: FeatureConfig, device: str, batch_seconds: float) -> MfccExtractor:
    """MFCC at the description's sample rate; always on the CPU."""
    return MfccExtractor(config.sample_rate_hz)
