"""What a checkpoint file of fairseq's holds, read without fairseq and without its weights in memory."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Union

from sld_user_dir.errors import InputError, reason_of
from sld_user_dir.files import refuse_lfs_pointer


def read_stored(path: Union[str, Path]) -> dict[str, Any]:
    """The entries of a checkpoint; its tensors are mapped, so that they stay on disk until they are used.

    Raises:
        FileNotFoundError: no such file.
        InputError: not a file of `torch.save` that torch reads without running code in it.
    """
    import torch

    try:
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        refuse_lfs_pointer(path)
        reason = reason_of(error)
        raise InputError(path, f"no checkpoint that torch reads ({reason})", "give one of fairseq-train's") from None
    if not isinstance(stored, dict):
        raise InputError(path, f"no checkpoint, but a {type(stored).__name__}", "give one of fairseq-train's")
    return stored
