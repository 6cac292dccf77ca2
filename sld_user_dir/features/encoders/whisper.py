"""The encoder of Whisper (Radford et al. 2022, "Robust speech recognition via large-scale weak supervision").

Whisper was trained on transcribed speech: its units are supervised, unlike those of HuBERT and relatives.

**Layers**: 0 is what the convolutions give, with the positions added; L is the output of block L, before the final
layer norm. transformers' `hidden_states` are the same but for the last one, which has the final layer norm.

**Silence**: the original always computes on 30 seconds, and fills shorter recordings up with silence. Here the default
is the recording alone; its positions count from its start all the same. `--pad-to-seconds 30` is the original's way.

**Spectrogram**: log10 of the mel energies, raised to 8 below its peak. The peak is that of the recording, also where it
goes in pieces (as in openai/whisper's `transcribe`), so what the convolutions read depends neither on where pieces are
cut nor on what else is in the batch. Each piece counts its positions anew.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Sequence

from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, FrameEncoder, check_layer, register_encoder
from sld_user_dir.features.frame_geometry import EncoderTraits
from sld_user_dir.features.hidden_states import hidden_states
from sld_user_dir.features.pretrained import loading, require_transformers
from sld_user_dir.features.stated_extractor import feature_extractor
from sld_user_dir.files import read_json

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)
WINDOW, MEL_HOP = 400, 160  # samples, of the spectrogram; a frame of the encoder is two of it
HOP = 2 * MEL_HOP
PEAK_BLOCK = 3000  # windows of a spectrogram at a time, where only its peak is wanted
MIN_ENERGY, DYNAMIC_RANGE = 1e-10, 8.0


@dataclass(frozen=True)
class MelGeometry:
    """Frames over a centred spectrogram, two of its columns each; the last may see one column alone."""

    heads: int
    ffn_dim: int
    padded_frames: int

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return HOP

    def n_frames(self, n_samples: int) -> int:
        """Half the columns of the spectrogram, rounded up."""
        return (n_samples // MEL_HOP + 1) // 2

    def span(self, first: int, last: int, n_samples: int) -> tuple[int, int]:
        """Whole hops; the last frame has the samples that remain."""
        return first * HOP, n_samples if last == self.n_frames(n_samples) else last * HOP

    def peak_values(self, n_samples: float) -> float:
        """The attention weights or the feed-forward layer of a block."""
        frames = max(n_samples / HOP, self.padded_frames)
        return frames * max(self.heads * frames, self.ffn_dim)


class WhisperBackend:
    """The convolutions, positions and blocks of a Whisper model's encoder."""

    def __init__(self, name: str, layer: int, pad_to_seconds: Optional[float] = None) -> None:
        import torch
        from torch import nn

        encoder, extractor = _load(name)
        config: Any = encoder.config
        check_layer(name, layer, len(encoder.layers))
        self.model = nn.ModuleDict(
            {
                "conv1": encoder.conv1,
                "conv2": encoder.conv2,
                "embed_positions": encoder.embed_positions,
                "layers": encoder.layers[:layer],
            }
        )
        rate, limit = int(extractor.sampling_rate), int(config.max_source_positions)
        padded = 0 if pad_to_seconds is None else round(pad_to_seconds * rate / HOP)
        if padded > limit:
            where = f"--pad-to-seconds {pad_to_seconds:g}"
            raise EncoderError(where, f"{name} takes {limit * HOP / rate:g} seconds at a time", "take that, or less")
        # float32 also where the model is in half precision; weights do not know of it, so it is no part of `model`
        self._mel_filters = torch.from_numpy(extractor.mel_filters).float().T  # (n_mels, WINDOW // 2 + 1)
        geometry = MelGeometry(int(config.encoder_attention_heads), int(config.encoder_ffn_dim), padded)
        self.traits = EncoderTraits(
            "whisper", rate, int(config.d_model), geometry, max_frames=limit, padded_frames=padded
        )

    def embed(self, wave: Tensor, peak: Optional[float] = None) -> Tensor:
        """(1, n_samples) -> output of the convolutions plus positions, (1, T, D)."""
        from torch.nn.functional import gelu, pad

        columns = max(wave.shape[1] // MEL_HOP, 2 * self.traits.padded_frames)
        missing = max(columns * MEL_HOP, WINDOW // 2 + 1) - wave.shape[1]  # a reflection needs half a window and one
        log_mel = self._log_mel(_reflect(pad(wave, (0, max(0, missing)))))[..., :columns]  # (1, n_mels, columns)
        floor = (float(log_mel.max()) if peak is None else peak) - DYNAMIC_RANGE
        features = (log_mel.clamp(min=floor) + 4.0) / 4.0
        positions: Any = self.model["embed_positions"].weight
        hidden = gelu(self.model["conv1"](features.to(positions.dtype)))
        hidden = gelu(self.model["conv2"](hidden)).transpose(1, 2)  # (1, T, D)
        out: Tensor = hidden + positions[: hidden.shape[1]]
        return out

    def peak(self, wave: Tensor) -> Optional[float]:
        """Maximum of the log-mel spectrogram of (1, n_samples)."""
        columns, reflected = wave.shape[1] // MEL_HOP, _reflect(wave)
        blocks = range(0, columns, PEAK_BLOCK)
        ends = [(min(first + PEAK_BLOCK, columns) - 1) * MEL_HOP + WINDOW for first in blocks]
        return max(float(self._log_mel(reflected[:, i * MEL_HOP : end]).max()) for i, end in zip(blocks, ends))

    def contextualise(self, embedded: Tensor, padding: Tensor) -> Tensor:
        """(B, T, D), padding (B, T) -> output of the last block that is kept, (B, T, D)."""
        import torch

        mask = None
        if padding.any():  # added to the attention's logits, for all heads and queries: (B, 1, 1, T)
            mask = torch.zeros_like(padding, dtype=embedded.dtype)
            mask = mask.masked_fill(padding, torch.finfo(embedded.dtype).min)[:, None, None]
        blocks: Any = self.model["layers"]
        for block in blocks:
            embedded = block(embedded, mask)
        return embedded

    def hidden_states(self, embedded: Tensor, padding: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Of `contextualise`, the outputs of several layers, (B, T, D) each."""
        return hidden_states(lambda: self.contextualise(embedded, padding), self.model["layers"], layers)

    def _log_mel(self, samples: Tensor) -> Tensor:
        """log10 of the mel energies of all whole windows: (1, n_samples) -> (1, n_mels, n_windows)."""
        import torch

        window = torch.hann_window(WINDOW, device=samples.device)
        spectrum = torch.stft(samples, WINDOW, MEL_HOP, window=window, center=False, return_complex=True)
        mel = self._mel_filters.to(samples.device) @ spectrum.abs().square()
        return mel.clamp(min=MIN_ENERGY).log10()


def _reflect(wave: Tensor) -> Tensor:
    """(1, n_samples) with half a window of its mirror image at both ends: windows are centred on their columns."""
    from torch.nn.functional import pad

    return pad(wave, (WINDOW // 2, WINDOW // 2), mode="reflect")


def _load(name: str) -> tuple[Any, Any]:
    """The encoder and the feature extractor of a directory or hub name."""
    import torch
    from transformers import WhisperModel

    with loading(name):
        encoder = WhisperModel.from_pretrained(name, dtype=torch.float32).encoder
    extractor = feature_extractor(name, encoder.config)
    settings = extractor.n_fft, extractor.hop_length, extractor.dither, extractor.feature_size
    if settings != (WINDOW, MEL_HOP, 0.0, encoder.config.num_mel_bins):
        problem = f"window, hop, dither and mel bins of its spectrogram are {settings}"
        wanted = (WINDOW, MEL_HOP, 0.0, encoder.config.num_mel_bins)
        raise EncoderError(name, problem, f"Whisper's are {wanted}: correct preprocessor_config.json")
    return encoder, extractor


def is_whisper(features: str) -> bool:
    """A directory whose config.json says so, or a hub name with "whisper" in it."""
    config = Path(features) / "config.json"
    if Path(features).exists():
        try:
            return bool(read_json(config).get("model_type") == "whisper")
        except (OSError, ValueError, AttributeError):
            return False  # whoever takes the rest says what is wrong with it
    return "whisper" in features.lower() and not features.endswith(".pt")


@register_encoder("a directory or hub name of Whisper", claims=is_whisper, pads=True, sums_layers=True, trains=True)
def load(config: FeatureConfig, device: str, batch_seconds: float) -> FrameEncoder:
    """Whisper's encoder in Hugging Face's form."""
    from sld_user_dir.features.chunked_encoder import load_chunked_encoder

    require_transformers(config.features)
    logger.info("%s learnt from transcribed speech: its units are supervised", config.features)
    return load_chunked_encoder(
        lambda name, layer: WhisperBackend(name, layer, config.pad_to_seconds), config, device, batch_seconds
    )
