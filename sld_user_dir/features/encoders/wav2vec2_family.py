"""HuBERT, WavLM, wav2vec 2.0 and relatives as Hugging Face transformers stores them.

transformers reads safetensors, and `.bin` files with torch's `weights_only`: no pickled object
is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Sequence

from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, FrameEncoder, check_layer, register_encoder
from sld_user_dir.features.frame_geometry import ConvolutionGeometry, EncoderTraits
from sld_user_dir.features.hidden_states import hidden_states
from sld_user_dir.features.pretrained import loading, require_transformers
from sld_user_dir.features.stated_extractor import feature_extractor
from sld_user_dir.features.waveform_backend import WaveformBackend

if TYPE_CHECKING:
    from torch import Tensor

WAVE_NORM_EPS = 1e-7  # of Wav2Vec2FeatureExtractor


class TransformersBackend(WaveformBackend):
    """A model with `feature_extractor`, `feature_projection` and `encoder.layers`."""

    def __init__(self, name: str, layer: int, model: Any, sample_rate_hz: int, normalised: bool) -> None:
        """Args: `name` stands in errors; `normalised`: the waveform is brought to mean 0 and variance 1."""
        from torch import nn

        config = model.config
        parts = ("feature_extractor", "feature_projection", "encoder")
        if not all(hasattr(model, part) for part in parts) or not hasattr(model.encoder, "layers"):
            raise EncoderError(
                name,
                f"{config.model_type} is not of the wav2vec 2.0 family",
                "take HuBERT, WavLM, wav2vec 2.0, data2vec or Whisper",
            )
        check_layer(name, layer, len(model.encoder.layers))
        model.encoder.layers = model.encoder.layers[:layer]
        if getattr(config, "do_stable_layer_norm", False):
            model.encoder.layer_norm = nn.Identity()  # the norm after the last block only
        self.model = nn.ModuleDict({part: getattr(model, part) for part in parts})
        self.traits = EncoderTraits(
            config.model_type,
            sample_rate_hz,
            config.hidden_size,
            ConvolutionGeometry(tuple(config.conv_kernel), tuple(config.conv_stride)),
            WAVE_NORM_EPS if normalised else None,
        )

    def embed(self, wave: Tensor, peak: Optional[float] = None) -> Tensor:
        """(1, n_samples) -> projected features of the convolutions, (1, T, D)."""
        wave = self.in_model_precision(wave)
        features = self.model["feature_extractor"](wave).transpose(1, 2)  # (1, T, C)
        projected = self.model["feature_projection"](features)
        return projected[0] if isinstance(projected, tuple) else projected

    def contextualise(self, embedded: Tensor, padding: Tensor) -> Tensor:
        """(B, T, D), padding (B, T) -> output of the last block that is kept, before any final norm, (B, T, D)."""
        mask = ~padding if padding.any() else None
        out: Tensor = self.model["encoder"](embedded, attention_mask=mask).last_hidden_state
        return out

    def hidden_states(self, embedded: Tensor, padding: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Of `contextualise`, the outputs of several layers, (B, T, D) each."""
        encoder: Any = self.model["encoder"]
        return hidden_states(lambda: self.contextualise(embedded, padding), encoder.layers, layers)


def _from_pretrained(name: str, layer: int) -> TransformersBackend:
    from transformers import AutoModel

    with loading(name):
        model = AutoModel.from_pretrained(name)
    extractor = feature_extractor(name, model.config)
    return TransformersBackend(name, layer, model, int(extractor.sampling_rate), bool(extractor.do_normalize))


@register_encoder(
    "a directory or hub name of the wav2vec 2.0 family",
    claims=lambda features: True,
    takes_the_rest=True,
    sums_layers=True,
    trains=True,
)
def load(config: FeatureConfig, device: str, batch_seconds: float) -> FrameEncoder:
    """HuBERT, WavLM or wav2vec 2.0 in Hugging Face's form."""
    from sld_user_dir.features.chunked_encoder import load_chunked_encoder

    require_transformers(config.features)
    return load_chunked_encoder(_from_pretrained, config, device, batch_seconds)
