"""Where speech is, by the neural detector of the package `silero-vad` (MIT), which ships its weights.

`pip install silero-vad` (6.2.3; 11 MB, needs torch alone). It hears speech under music and noise where energy does not.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from sld_user_dir.arrays import FloatArray
from sld_user_dir.errors import InputError
from sld_user_dir.features.resampling import resample
from sld_user_dir.longform.energy_detector import Spans

RATES_HZ = (8000, 16000)


def speech_by_silero(wave: FloatArray, sample_rate_hz: int) -> Spans:
    """Stretches of a waveform (n_samples,) that are speech.

    Raises:
        InputError: the package is not installed.
    """
    import torch

    package, model = _load()
    rate = sample_rate_hz if sample_rate_hz in RATES_HZ else RATES_HZ[-1]
    heard = torch.from_numpy(np.ascontiguousarray(resample(wave, sample_rate_hz, rate)))
    found = package.get_speech_timestamps(heard, model, sampling_rate=rate, speech_pad_ms=0)
    spans = np.array([(one["start"], one["end"]) for one in found], dtype=np.float64).reshape(-1, 2)
    return np.minimum(np.round(spans * sample_rate_hz / rate), len(wave)).astype(np.int64)


@lru_cache(maxsize=1)
def _load() -> tuple[Any, Any]:
    """The package and its model; importing it sets torch to one thread, which is undone."""
    import torch

    threads = torch.get_num_threads()
    try:
        import silero_vad
    except ImportError as error:
        remedy = "pip install 'sld-user-dir[vad]', or silero-vad, or take --pauses energy"
        raise InputError("--pauses silero", f"silero_vad cannot be imported ({error})", remedy) from error
    finally:
        torch.set_num_threads(threads)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit")  # torch's, of what the weights are stored in
        return silero_vad, silero_vad.load_silero_vad()
