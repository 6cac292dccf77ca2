"""The one word for where things run: `auto`, `cpu`, `cuda`, or one card as `cuda:1`."""

from __future__ import annotations

import re
from typing import Any

from sld_user_dir.errors import InputError

_WORD = re.compile(r"auto|cpu|cuda(:\d+)?")


class DeviceError(InputError):
    """A device that is not there, or cannot be used; the message tells what to do."""


def check_device(device: str) -> str:
    """The word itself, or `cuda` for `gpu`, as older command lines have it.

    Raises:
        DeviceError: no such word.
    """
    word = "cuda" if device == "gpu" else device
    if not _WORD.fullmatch(word):
        raise DeviceError(f"--device {device}", "no such device", "choose auto, cpu, cuda, or one card such as cuda:1")
    return word


def torch_device(device: str) -> Any:
    """A `torch.device`; `auto` is a GPU where torch sees one.

    Raises:
        DeviceError: `cuda` where torch sees no GPU.
    """
    import torch

    word = check_device(device)
    if word == "auto":
        word = "cuda" if torch.cuda.is_available() else "cpu"
    elif word != "cpu" and not torch.cuda.is_available():
        raise DeviceError(
            f"--device {device}", "torch sees no GPU", "check nvidia-smi and torch's build, or take --device cpu"
        )
    return torch.device(word)
