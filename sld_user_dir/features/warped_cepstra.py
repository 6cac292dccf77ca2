"""Cepstra of a vocal tract of another length: Kaldi's mel filters, warped as its VTLN does.

Vocal tract length perturbation (Jaitly and Hinton 2013) trains on copies of a recording whose frequencies are
warped, as if a larger or smaller speaker had said it in the same time. kaldi-native-fbank computes MFCC with plain
filters only, but builds warped ones; the steps around them are repeated here, and with a factor of 1 give the same.
"""

from __future__ import annotations

import kaldi_native_fbank as knf
import numpy as np

from sld_user_dir.arrays import FloatArray

PREEMPHASIS = 0.97
POVEY_EXPONENT = 0.85
LIFTER = 22
FLOOR = np.finfo(np.float32).eps


class WarpedCepstra:
    """Waveform (n_samples,) of 16-bit scale to cepstra (T, num_ceps), the first of which is the log energy.

    Args:
        options: without dither, whole windows only, as `MfccExtractor` has them.
        warp: Kaldi's factor; above 1 the filters stand lower, so resonances seem higher, as of a shorter vocal tract.
    """

    def __init__(self, options: knf.MfccOptions, warp: float) -> None:
        frame = options.frame_opts
        self._window = int(frame.samp_freq * frame.frame_length_ms / 1000)
        self._shift = int(frame.samp_freq * frame.frame_shift_ms / 1000)
        self._fft = 1 << (self._window - 1).bit_length()
        cosine = np.cos(2 * np.pi * np.arange(self._window) / (self._window - 1))
        self._taper = (0.5 - 0.5 * cosine) ** POVEY_EXPONENT
        banks = knf.MelBanks(options.mel_opts, frame, warp)
        bins = np.eye(self._fft // 2 + 1, dtype=np.float32)
        self._filters = np.stack([banks.compute(one) for one in bins])  # (bins, mels)
        self._transform = _liftered_cosines(options.mel_opts.num_bins, options.num_ceps)

    def __call__(self, wave: FloatArray) -> FloatArray:
        """(T, num_ceps), T >= 1."""
        frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), self._window)[:: self._shift]
        frames = frames - frames.mean(1, keepdims=True)
        energy = np.log(np.maximum((frames**2).sum(1), FLOOR))
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        power = np.abs(np.fft.rfft((frames - PREEMPHASIS * before) * self._taper, self._fft)) ** 2
        cepstra = np.log(np.maximum(power @ self._filters, FLOOR)) @ self._transform
        cepstra[:, 0] = energy
        return np.ascontiguousarray(cepstra, dtype=np.float32)


def _liftered_cosines(mels: int, cepstra: int) -> FloatArray:
    """(mels, cepstra): the orthonormal cosine transform, higher cepstra raised as Kaldi's lifter does."""
    order = np.arange(cepstra)
    cosines = np.sqrt(2 / mels) * np.cos(np.pi / mels * np.outer(np.arange(mels) + 0.5, order))
    cosines[:, 0] = np.sqrt(1 / mels)
    return cosines * (1 + LIFTER / 2 * np.sin(np.pi * order / LIFTER))
