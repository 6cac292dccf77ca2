"""The feature extractor of a pretrained encoder, as its directory or hub name states it.

Its files are read here, not by transformers, which says of a file that it cannot read the same as of one that is
missing: the waveform would be prepared by a default that the encoder was not trained with.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Optional

from sld_user_dir.errors import reason_of
from sld_user_dir.features.frame_encoder import EncoderError
from sld_user_dir.features.pretrained import FORM
from sld_user_dir.files import read_json

logger = logging.getLogger(__name__)
PROCESSOR_FILE, EXTRACTOR_FILE = "processor_config.json", "preprocessor_config.json"
"""In the first one, a feature extractor stands beside a tokenizer; transformers prefers it."""
PARTS = ("feature_extractor", "audio_processor")
"""Names of it there."""


def feature_extractor(name: str, config: Any) -> Any:
    """The feature extractor of a directory or hub name; where none states it, that of its kind of convolutions.

    Args:
        config: of the model.

    Raises:
        EncoderError: a file that states it cannot be read or used, or a Whisper states none.
    """
    from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

    whisper = config.model_type == "whisper"
    for file_name in (PROCESSOR_FILE, EXTRACTOR_FILE):
        path = _file_of(name, file_name)
        stated = None if path is None else _stated(path)
        if path is not None and stated is not None:
            return _built(WhisperFeatureExtractor if whisper else Wav2Vec2FeatureExtractor, stated, path)
    if whisper:
        raise EncoderError(name, f"it has no {EXTRACTOR_FILE}", f"give a directory in Hugging Face's form: {FORM}")
    normalised = getattr(config, "feat_extract_norm", "group") == "layer"
    logger.warning(
        "%s has no %s: 16 kHz, waveform %snormalised, as fairseq does for its kind of convolutions",
        name,
        EXTRACTOR_FILE,
        "" if normalised else "not ",
    )
    return Wav2Vec2FeatureExtractor(do_normalize=normalised)


def _file_of(name: str, file_name: str) -> Optional[Path]:
    """A file of a directory or hub name, if it has it."""
    if Path(name).is_dir():
        local = Path(name) / file_name
        return local if local.exists() else None
    from transformers.utils.hub import cached_file

    try:
        path = cached_file(name, file_name)
    except OSError:
        return None
    return None if path is None else Path(path)


def _stated(path: Path) -> Optional[dict[str, Any]]:
    """The settings in a file; None where the file of a processor has none of a feature extractor."""
    stated = _settings(read_json(path, EncoderError), path)
    if path.name != PROCESSOR_FILE:
        return stated
    part = next((stated[key] for key in PARTS if key in stated), None)
    return None if part is None else _settings(part, path)


def _settings(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        problem = f"the settings of a feature extractor are {type(value).__name__}, not an object in braces"
        raise EncoderError(path, problem, "correct the file, or fetch it again")
    return value


def _built(kind: Any, stated: dict[str, Any], path: Path) -> Any:
    for key, wanted, words in (("sampling_rate", int, "a whole number"), ("do_normalize", bool, "true or false")):
        if key in stated and type(stated[key]) is not wanted:
            raise EncoderError(path, f"{key} is {stated[key]!r}", f"write {words} there")
    try:
        return kind(**stated)
    except Exception as error:  # whatever other settings are of a wrong kind
        problem = f"transformers makes no feature extractor of it ({reason_of(error)})"
        raise EncoderError(path, problem, "correct the file, or fetch it again") from error
