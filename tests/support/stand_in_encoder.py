"""Stands in for textless-lib's SpeechEncoder: twelve units by the loudness of 20 ms, runs collapsed."""

from typing import Dict

import torch
from torch import Tensor


class LoudnessEncoder:
    """Its attributes, and the dictionary that it returns."""

    vocab_size, expected_sample_rate, code_hop_size, deduplicate = 12, 8000, 160, True

    def __call__(self, waveform: Tensor) -> Dict[str, Tensor]:
        frames = waveform.unfold(0, self.code_hop_size, self.code_hop_size)
        loud = (frames.abs().mean(1) * 40).long().clamp(max=self.vocab_size - 1)
        units, durations = torch.unique_consecutive(loud, return_counts=True)
        return {"units": units, "durations": durations}
