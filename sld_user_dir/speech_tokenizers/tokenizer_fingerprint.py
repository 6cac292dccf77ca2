"""A fingerprint of all that changes the codes of a tokenizer: files, weights, settings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

BLOCK_BYTES = 1 << 20


def fingerprint_of(*parts: Any) -> str:
    """12 hex characters over what is given, in its order.

    Args:
        parts: paths of files (by their bytes, not their names), arrays, torch modules (all weights by name), and
            JSON values.

    Raises:
        OSError: a file that cannot be read.
        TypeError: something else.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            _add_file(digest, part)
        elif isinstance(part, np.ndarray):
            _add_array(digest, "array", part)
        elif hasattr(part, "state_dict"):
            for name, tensor in sorted(part.state_dict().items()):
                _add_array(digest, name, tensor.detach().cpu().numpy())
        else:
            digest.update(b"json " + json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()[:12]


def _add_file(digest: Any, path: Path) -> None:
    digest.update(b"file ")
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(BLOCK_BYTES), b""):
            digest.update(block)


def _add_array(digest: Any, name: str, array: Any) -> None:
    values = np.ascontiguousarray(array)
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    digest.update(f"{name} {little.dtype.str} {values.shape} ".encode())
    digest.update(little.tobytes())
