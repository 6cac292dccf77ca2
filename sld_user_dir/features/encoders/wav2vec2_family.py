"""HuBERT, WavLM, wav2vec 2.0 and relatives as Hugging Face transformers stores them.

transformers reads safetensors, and `.bin` files with torch's `weights_only`: no pickled object
is run.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Optional

from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, FrameEncoder, check_layer, register_encoder
from sld_user_dir.features.frame_geometry import ConvolutionGeometry, EncoderTraits

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)
WAVE_NORM_EPS = 1e-7  # of Wav2Vec2FeatureExtractor


class TransformersBackend:
    """A model with `feature_extractor`, `feature_projection` and `encoder.layers`."""

    def __init__(self, name: str, layer: int) -> None:
        from torch import nn
        from transformers import AutoConfig, AutoModel

        try:
            config = AutoConfig.from_pretrained(name)
            model = AutoModel.from_pretrained(name)
        except (OSError, KeyError, ValueError, ImportError) as error:
            raise EncoderError(
                name, f"transformers cannot load it ({_first_line(error)})", "give a local directory or a hub name"
            ) from error
        parts = ("feature_extractor", "feature_projection", "encoder")
        if not all(hasattr(model, part) for part in parts) or not hasattr(model.encoder, "layers"):
            raise EncoderError(
                name,
                f"{config.model_type} is not of the wav2vec 2.0 family",
                "take HuBERT, WavLM, wav2vec 2.0 or data2vec",
            )
        check_layer(name, layer, len(model.encoder.layers))
        model.encoder.layers = model.encoder.layers[:layer]
        if getattr(config, "do_stable_layer_norm", False):
            model.encoder.layer_norm = nn.Identity()  # the norm after the last block only
        self.model = nn.ModuleDict({part: getattr(model, part) for part in parts})
        rate, normalised = _waveform(name, config)
        self.traits = EncoderTraits(
            config.model_type,
            rate,
            config.hidden_size,
            ConvolutionGeometry(tuple(config.conv_kernel), tuple(config.conv_stride)),
            WAVE_NORM_EPS if normalised else None,
        )

    def embed(self, wave: Tensor, peak: Optional[float] = None) -> Tensor:
        """(1, n_samples) -> projected features of the convolutions, (1, T, D)."""
        wave = wave.to(next(self.model.parameters()).dtype)
        features = self.model["feature_extractor"](wave).transpose(1, 2)  # (1, T, C)
        projected = self.model["feature_projection"](features)
        return projected[0] if isinstance(projected, tuple) else projected

    def peak(self, wave: Tensor) -> Optional[float]:
        """Nothing: the waveform is normalised before it is cut."""
        return None

    def contextualise(self, embedded: Tensor, padding: Tensor) -> Tensor:
        """(B, T, D), padding (B, T) -> output of the last block that is kept, before any final norm, (B, T, D)."""
        mask = ~padding if padding.any() else None
        out: Tensor = self.model["encoder"](embedded, attention_mask=mask).last_hidden_state
        return out


def _waveform(name: str, config: object) -> tuple[int, bool]:
    """Sample rate, and whether the waveform is normalised."""
    from transformers import AutoFeatureExtractor

    try:
        extractor = AutoFeatureExtractor.from_pretrained(name)
        return int(extractor.sampling_rate), bool(extractor.do_normalize)
    except (OSError, ValueError):
        normalised = getattr(config, "feat_extract_norm", "group") == "layer"
        logger.warning(
            "%s has no preprocessor_config.json: 16 kHz, waveform %snormalised, as fairseq does for "
            "its kind of convolutions",
            name,
            "" if normalised else "not ",
        )
        return 16000, normalised


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@register_encoder(
    "a directory or hub name of the wav2vec 2.0 family", claims=lambda features: True, takes_the_rest=True
)
def load(config: FeatureConfig, device: str, batch_seconds: float) -> FrameEncoder:
    """HuBERT, WavLM or wav2vec 2.0 in Hugging Face's form."""
    from sld_user_dir.features.chunked_encoder import load_chunked_encoder

    try:
        importlib.import_module("transformers")
    except ImportError as error:
        problem = f"transformers, which loads it, cannot be imported ({error})"
        raise EncoderError(f"--features {config.features}", problem, "pip install 'transformers>=5'") from error
    return load_chunked_encoder(TransformersBackend, config, device, batch_seconds)
