"""Encoder, normalisation and stacking as a part of a network: waveforms to frames, with the gradient of the weights.

The frames are those of `FrontEnd`, but for rounding. The encoder runs as it does there, without dropout and layer drop,
so that what it gives in training is what `sld units` will get of it. Convolutions over the waveform stay as they are,
as is usual where such encoders are fine-tuned; of Whisper, whose convolutions are over a spectrogram, all is trained
but the positions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sld_user_dir.features.chunked_encoder import ChunkedEncoder
from sld_user_dir.features.cmvn import MIN_STD
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, load_encoder, source_of

FIXED_PARTS = ("feature_extractor", "embed_positions")


class TrainableFrontEnd(nn.Module):
    """Waveforms to frames.

    Args:
        config: of the features.
        each_layer: of `--layers`, each for itself instead of their sum.

    Attributes:
        model: the encoder's weights.

    Raises:
        EncoderError: an encoder that cannot be saved as a directory, or statistics of speakers.
    """

    def __init__(self, config: FeatureConfig, each_layer: bool = False):
        super().__init__()
        if not source_of(config.features).trains:
            problem = "it can't be trained: what is learnt is saved in Hugging Face's form"
            remedy = "take an encoder in that form, or train the units alone"
            raise EncoderError(f"--features {config.features}", problem, remedy)
        if config.normalise == "speaker":
            problem, remedy = "statistics of speakers would change with the encoder", "take utterance, or none"
            raise EncoderError("--normalise speaker", problem, remedy)
        encoder: Any = load_encoder(config, "cpu")
        assert isinstance(encoder, ChunkedEncoder)
        self._encoder, self._config, self._each_layer = encoder, config, each_layer
        self.model = encoder.model
        for name, part in self.model.items():
            part.requires_grad_(name not in FIXED_PARTS)

    def train(self, mode: bool = True) -> TrainableFrontEnd:
        """As any module; but the encoder runs without dropout and layer drop in either mode."""
        super().train(mode)
        self.model.eval()
        return self

    def forward(self, waves: list[Tensor]) -> Tensor:
        """Frames of waveforms (n_samples,), one recording after the other: (n, D), or (n, L, D) of each layer."""
        found = self._encoder.differentiable_frames([wave.cpu().numpy() for wave in waves])
        return torch.cat([self._finish(states) for states in found])

    def _finish(self, states: Tensor) -> Tensor:
        """(T, L * D) -> (T', D), or (T', L, D)."""
        n_frames, stack, layers = len(states), self._config.stack, self._config.layer_sum
        if self._config.normalise == "utterance" and n_frames:
            wide = states.double()
            states = ((wide - wide.mean(0)) / wide.var(0, correction=0).sqrt().clamp(min=MIN_STD)).float()
        if stack > 1 and n_frames:
            states = F.pad(states.t()[None], (0, -n_frames % stack), mode="replicate")[0].t()
        by_layer = states.unflatten(1, (1 if layers is None else len(layers.layers), -1))
        stacked = by_layer.unflatten(0, (-1, stack)).permute(0, 2, 1, 3).flatten(2)  # (T', L, stack * D)
        if layers is None:
            return stacked[:, 0]
        return stacked if self._each_layer else torch.einsum("tld,l->td", stacked, stacked.new_tensor(layers.weights))
