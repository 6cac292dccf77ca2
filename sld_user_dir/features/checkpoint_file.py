"""Torch checkpoints ending in `.pt`, read as plain values and tensors: no pickled object is run.

Several libraries write this ending. Whose a file is shows in the names of its weights, `checkpoint_contents`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Dict, FrozenSet, NamedTuple, Optional


class CheckpointContents(NamedTuple):
    """What identifies a checkpoint, without its weights."""

    keys: FrozenSet[str]
    """of the checkpoint itself: `model`, `cfg`, …"""
    weights: FrozenSet[str]
    """names under `model`, or of the checkpoint itself where it has no `model`"""


def checkpoint_contents(features: str) -> Optional[CheckpointContents]:
    """Of a `.pt` file that is there; None of all else, and of files that hold other objects than plain ones."""
    path = Path(features)
    if path.suffix != ".pt" or not path.is_file():
        return None
    return _contents(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _contents(path: Path, mtime_ns: int) -> Optional[CheckpointContents]:
    try:
        state = load_plain(path)
    except Exception:  # torch raises several kinds, pickle's among them; whoever loads the file says what is wrong
        return None
    return CheckpointContents(frozenset(map(str, state)), frozenset(map(str, weights_of(state))))


def load_plain(path: Path) -> Dict[str, Any]:
    """A checkpoint, its weights mapped into memory where the file's form allows it.

    Raises:
        Exception: of several kinds, where it cannot be read or holds objects beside tensors and plain values.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # torch's form before 1.6 cannot be mapped
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise TypeError(f"{path} holds no dictionary")
    return state


def weights_of(state: Dict[str, Any]) -> Dict[str, Any]:
    """The weights of a checkpoint by name: what stands under `model`, or all of it."""
    weights = state.get("model", state)
    return weights if isinstance(weights, dict) else {}
