"""What goes wrong where transformers loads a model, told so that a user can act on it."""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path
from typing import Iterator

from sld_user_dir.errors import reason_of
from sld_user_dir.features.frame_encoder import EncoderError
from sld_user_dir.files import directory_or_name
from sld_user_dir.pretrained_files import refuse_unreadable_files

FORM = "config.json, preprocessor_config.json and model.safetensors"


def require_transformers(features: str) -> None:
    """That transformers can be imported.

    Raises:
        EncoderError: it cannot.
    """
    try:
        importlib.import_module("transformers")
    except ImportError as error:
        problem = f"transformers, which loads it, cannot be imported ({error})"
        raise EncoderError(f"--features {features}", problem, "pip install 'transformers>=5'") from error


@contextlib.contextmanager
def loading(name: str) -> Iterator[None]:
    """Around what loads a directory or hub name; errors say what the directory lacks, or which form it should have.

    Raises:
        EncoderError: transformers cannot load it.
    """
    try:
        directory_or_name(name)
        yield
    except Exception as error:  # transformers, its hub and safetensors raise many kinds
        refuse_unreadable_files(name, EncoderError)
        reason = reason_of(error)
        raise EncoderError(name, *_said(name, reason)) from error


def _said(name: str, reason: str) -> tuple[str, str]:
    """Problem and remedy."""
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            return "a directory without config.json", f"give one in Hugging Face's form: {FORM}"
        if not any(path.glob("*.safetensors*")) and not any(path.glob("*.bin*")):
            return "a directory without weights", f"give one in Hugging Face's form: {FORM}"
        return f"transformers cannot load it ({reason})", f"give a directory in Hugging Face's form: {FORM}"
    if path.exists():
        return "a file", f"give its directory, in Hugging Face's form ({FORM}), or a checkpoint ending in .pt"
    return (
        f"no such directory, and transformers cannot load it as a hub name ({reason})",
        f"give a directory with {FORM}; where there is a network, `hf download NAME --local-dir DIRECTORY` makes one",
    )
