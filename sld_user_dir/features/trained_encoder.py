"""An encoder whose weights were trained, as a directory in Hugging Face's form that `--features` takes."""

from __future__ import annotations

import filecmp
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.frame_encoder import EncoderError
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.features.pretrained import loading, require_transformers
from sld_user_dir.features.stated_extractor import feature_extractor
from sld_user_dir.files import publish_directory, scratch_directory

if TYPE_CHECKING:
    from torch import Tensor


def save_trained_encoder(start: str, weights: Mapping[str, Tensor], out: Path) -> None:
    """Write the encoder that training started from, with the weights that it has now.

    Args:
        start: directory or hub name of the encoder at the start, which must still be there.
        weights: by the names of `EncoderBackend.model`.

    Raises:
        EncoderError: `out` exists and is another encoder, the start cannot be loaded, or it has no such weights.
    """
    require_transformers(start)
    from transformers import AutoModel

    with loading(start):
        model: Any = AutoModel.from_pretrained(start).float()
    extractor = feature_extractor(start, model.config)
    part = model.encoder if model.config.model_type == "whisper" else model
    unknown = part.load_state_dict(dict(weights), strict=False).unexpected_keys
    if unknown:
        raise EncoderError(start, f"no weights {', '.join(unknown[:3])}", "give the encoder that training started from")
    with scratch_directory(out.parent) as filled:
        model.save_pretrained(filled)
        extractor.save_pretrained(filled)
        if out.exists() and not _same_files(filled, out):  # the same ones are of a call that was killed later on
            raise EncoderError(out, "it exists, and is another encoder", "name a new directory, or remove it")
        publish_directory(filled, out)


def _same_files(one: Path, other: Path) -> bool:
    names = [path.name for path in one.iterdir()]
    return filecmp.cmpfiles(one, other, names, shallow=False)[0] == names


def encoder_name(features: Mapping[str, Any]) -> str:
    """What the provenance calls the features that a k-means file states."""
    return build_front_end(FeatureConfig(**features), "cpu").encoder
