"""HuBERT and wav2vec 2.0 from fairseq's own `.pt` checkpoints, by fairseq's own modules.

The checkpoint is read with torch's `weights_only`: classes that old checkpoints hold beside
the weights (argparse namespaces, dictionaries) are allowed by name, nothing else is run.
"""

from __future__ import annotations

import argparse
import collections
from dataclasses import fields
from pathlib import Path
from typing import Any, Optional, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sld_user_dir.errors import reason_of
from sld_user_dir.features.chunked_encoder import ChunkedEncoder, load_chunked_encoder
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError, check_layer, register_encoder
from sld_user_dir.features.frame_geometry import ConvolutionGeometry, EncoderTraits
from sld_user_dir.features.hidden_states import first_of, hidden_states
from sld_user_dir.features.waveform_backend import WaveformBackend
from sld_user_dir.stored_checkpoint import refuse_damaged

WAVE_NORM_EPS = 1e-5  # torch's layer_norm, by which fairseq normalises waveforms
USED_PARTS = ("feature_extractor", "post_extract_proj", "layer_norm", "encoder")


class FairseqBackend(WaveformBackend):
    """`hubert` and `wav2vec2` models, pre-training checkpoints."""

    def __init__(self, path: Path, layer: int) -> None:
        state = read_checkpoint(path)
        model_cfg, task_cfg = _configs(path, state)
        model = _build(path, model_cfg, task_cfg)
        check_layer(str(path), layer, len(model.encoder.layers))
        model.encoder.layers = model.encoder.layers[:layer]
        self.model = nn.ModuleDict(
            {part: getattr(model, part) for part in USED_PARTS if getattr(model, part) is not None}
        )
        self._load(path, state["model"])
        layers = [block[0] for block in model.feature_extractor.conv_layers]
        self.traits = EncoderTraits(
            str(model_cfg["_name"]),
            int(task_cfg.get("sample_rate", 16000)),
            int(model.encoder.embedding_dim),
            ConvolutionGeometry(
                tuple(conv.kernel_size[0] for conv in layers), tuple(conv.stride[0] for conv in layers)
            ),
            WAVE_NORM_EPS if task_cfg.get("normalize", False) else None,
        )

    def embed(self, wave: Tensor, peak: Optional[float] = None) -> Tensor:
        """(1, n_samples) -> projected features of the convolutions, (1, T, D)."""
        wave = self.in_model_precision(wave)
        features = self.model["feature_extractor"](wave).transpose(1, 2)  # (1, T, C)
        features = self.model["layer_norm"](features)
        if "post_extract_proj" in self.model:
            features = self.model["post_extract_proj"](features)
        return features

    def contextualise(self, embedded: Tensor, padding: Tensor) -> Tensor:
        """(B, T, D), padding (B, T) -> output of the last block that is kept, before any final norm, (B, T, D)."""
        mask = padding if padding.any() else None
        encoder: Any = self.model["encoder"]
        out: Tensor = encoder.extract_features(embedded, mask)[0]  # no final norm
        return out

    def hidden_states(self, embedded: Tensor, padding: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Of `contextualise`, the outputs of several layers, (B, T, D) each; fairseq's blocks see (T, B, D)."""
        encoder: Any = self.model["encoder"]
        return hidden_states(
            lambda: self.contextualise(embedded, padding),
            encoder.layers,
            layers,
            lambda value: first_of(value).transpose(0, 1),
        )

    def _load(self, path: Path, weights: dict[str, Tensor]) -> None:
        wanted = self.model.state_dict()
        missing = [name for name in wanted if name not in weights]
        if missing:
            raise EncoderError(path, f"no weights {', '.join(missing[:3])}", "is it a pre-training checkpoint?")
        self.model.load_state_dict({name: weights[name].float() for name in wanted})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A fairseq checkpoint as plain values.

    Raises:
        EncoderError: missing, damaged, not a checkpoint, or holding objects that are not allowed.
    """
    from fairseq.data.dictionary import Dictionary

    allowed = [
        argparse.Namespace,
        Dictionary,
        collections.defaultdict,
        np.dtype,
        type(np.dtype(np.float64)),
        type(np.dtype(np.int64)),
        _numpy_scalar(),
    ]
    if path.is_file():
        refuse_damaged(path, "fetch it again", EncoderError)
    try:
        with torch.serialization.safe_globals(allowed):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise EncoderError(path, "no such checkpoint", "check the path") from None
    except Exception as error:  # torch raises several kinds, pickle's among them
        reason = reason_of(error)
        raise EncoderError(
            path,
            f"cannot be read without running pickled code ({reason})",
            "if you trust it, load it with torch.load(weights_only=False) and save its 'cfg' (plain) and 'model' again",
        ) from error
    if not isinstance(state, dict) or "model" not in state:
        raise EncoderError(path, "not a fairseq checkpoint (no 'model')", "give one of pre-training")
    return state


def _numpy_scalar() -> Any:
    return np.float64(0).__reduce__()[0]  # its module has moved between numpy's versions


def _configs(path: Path, state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Model and task settings, of new checkpoints (`cfg`) and old ones (`args`)."""
    if state.get("cfg"):
        return dict(state["cfg"]["model"]), dict(state["cfg"].get("task") or {})
    if state.get("args") is not None:
        args = vars(state["args"])
        return {"_name": args.get("arch"), **args}, args
    raise EncoderError(path, "holds neither 'cfg' nor 'args': its architecture is unknown", "give the original")


def _build(path: Path, model_cfg: dict[str, Any], task_cfg: dict[str, Any]) -> Any:
    from fairseq.models.hubert import HubertConfig, HubertModel
    from fairseq.models.wav2vec import Wav2Vec2Config, Wav2Vec2Model
    from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig

    name = model_cfg.get("_name")
    if name == "hubert":
        task = _fill(HubertPretrainingConfig, {"sample_rate": 16000, **task_cfg})
        label_rate = {"label_rate": task_cfg.get("label_rate", 50)}
        return HubertModel(_fill(HubertConfig, {**model_cfg, **label_rate}), task, [None])
    if name == "wav2vec2":
        return Wav2Vec2Model(_fill(Wav2Vec2Config, model_cfg))
    raise EncoderError(
        path,
        f"a {name!r} model",
        "fairseq checkpoints of hubert and wav2vec2 pre-training are read, others through transformers",
    )


def _fill(kind: Any, values: dict[str, Any]) -> Any:
    """A fairseq config dataclass with those values that it knows."""
    config = kind()
    for one in fields(kind):
        if one.name in values:
            setattr(config, one.name, values[one.name])
    return config


@register_encoder(
    "a fairseq checkpoint ending in .pt", claims=lambda features: features.endswith(".pt"), sums_layers=True
)
def load(config: FeatureConfig, device: str, batch_seconds: float) -> ChunkedEncoder:
    """HuBERT or wav2vec 2.0 from a fairseq checkpoint."""
    return load_chunked_encoder(lambda name, layer: FairseqBackend(Path(name), layer), config, device, batch_seconds)
