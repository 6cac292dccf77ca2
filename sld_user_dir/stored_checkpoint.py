"""What a checkpoint file of fairseq's holds, read without its weights in memory; files of torch that are whole."""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, Optional, Union

from sld_user_dir.errors import InputError, reason_of
from sld_user_dir.files import atomic_path, refuse_lfs_pointer

READ_ERRORS = (
    *(RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError, EOFError, OSError),
    *(struct.error, pickle.UnpicklingError),
)
"""What torch raises of a file that it does not read; of a pickle of which bytes are others nearly anything."""
ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, OverflowError, *READ_ERRORS)
"""What zipfile raises of an archive of which bytes are others; found by trying."""
OTHERS_NAMED = ENTRIES_NAMED = 3


def read_stored(path: Union[str, Path]) -> dict[str, Any]:
    """The entries of a checkpoint; its tensors are mapped, so that they stay on disk until they are used.

    Raises:
        FileNotFoundError: no such file.
        InputError: not a file of `torch.save` that torch reads without running code in it.
    """
    try:
        stored = _mapped(path)
    except FileNotFoundError:
        raise
    except READ_ERRORS as error:
        raise unreadable(path, error) from None
    if not isinstance(stored, dict):
        raise InputError(path, f"no checkpoint, but a {type(stored).__name__}", "give one of fairseq-train's")
    return stored


def _mapped(path: Union[str, Path]) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def refuse_other_content(path: Union[str, Path], stored: Any, remedy: str) -> None:
    """Say so where a file of `torch.save` holds no model.

    Args:
        stored: its content.
        remedy: other checkpoints beside the file are named behind it.

    Raises:
        InputError: it holds something else.
    """
    if not isinstance(stored, dict):
        raise InputError(path, f"no checkpoint, but a {type(stored).__name__}", remedy + others(path))
    if "model" not in stored and "task_state" not in stored:
        entries = ", ".join(map(str, list(stored)[:ENTRIES_NAMED])) or "nothing"
        raise InputError(path, f"no checkpoint: it holds no model, but {entries}", remedy + others(path))


def write_stored(path: Union[str, Path], content: Any) -> None:
    """Write a file of `torch.save`, whole or not at all.

    Raises:
        OutputError: the disk is full or read-only, of which torch says nothing that a user would understand.
    """
    import torch

    with atomic_path(path) as aside, aside.open("wb") as handle:
        try:
            torch.save(content, handle)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def untrained(
    model: dict[str, Any], task_state: dict[str, Any], cfg: Optional[dict[str, Any]] = None
) -> dict[str, Any]:
    """The entries of a checkpoint that no training has written: weights, what the task remembers, options if known."""
    return {
        "args": None,
        "cfg": cfg,
        "model": model,
        "optimizer_history": [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "task_state": task_state,
    }


def unreadable(path: Union[str, Path], error: BaseException) -> InputError:
    """The error to raise of a file that torch does not read, or in which fairseq does not find a checkpoint.

    Raises:
        InputError: the file is a Git LFS pointer, or torch reads it, but it is no checkpoint.
    """
    refuse_lfs_pointer(path)
    reason = damage_of(path) or reason_of(error)
    reader, remedy = "fairseq", "give one of fairseq-train's"
    try:
        stored = _mapped(path)
    except READ_ERRORS:
        reader = "torch"
    else:
        refuse_other_content(path, stored, remedy)
    return InputError(path, f"no checkpoint that {reader} reads ({reason})", remedy + others(path))


def refuse_damaged(path: Union[str, Path], remedy: str, error: type[InputError] = InputError) -> None:
    """Say so where a checkpoint is not whole: every byte is read.

    Args:
        remedy: other checkpoints beside the file are named behind it.
        error: the kind of error to raise.

    Raises:
        InputError: of the kind `error`: it is damaged, or a Git LFS pointer.
    """
    refuse_lfs_pointer(path, error)
    damage = damage_of(path)
    if damage is not None:
        raise error(path, f"a damaged checkpoint: {damage}", remedy + others(path))


def damage_of(path: Union[str, Path]) -> Optional[str]:
    """What is wrong with the bytes of a checkpoint; None where nothing is known to be.

    torch reads its archives without looking at their checksums, so that a flipped bit would be another weight.
    """
    path = Path(path)
    with path.open("rb") as raw:
        start = raw.read(4)
    if not start:
        return "the file is empty"
    if start[:1] == b"\x80":  # torch's form before 1.6, which has no checksums
        return None
    if start != b"PK\x03\x04":
        return "it does not begin as a file of torch.save does"
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except ARCHIVE_ERRORS:
        return "its end is missing or overwritten"
    return None if part is None else f"the checksum of its part {part} is wrong"


def others(path: Union[str, Path]) -> str:
    """The latest other checkpoints in the folder of one, to be named in an error; nothing where there are none."""
    path = Path(path)
    beside = [one for one in path.parent.glob("checkpoint*.pt") if one.name != path.name and one.is_file()]
    latest = sorted(beside, key=lambda one: (-one.stat().st_mtime, one.name))
    names = [one.name for one in latest[:OTHERS_NAMED]]
    return f" (beside it: {', '.join(names)})" if names else ""
