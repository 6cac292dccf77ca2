"""Names of the arrays and paths that go through the stages before training."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Union

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
"""Waveforms (n_samples,) or frames (T, D)."""
UnitArray = npt.NDArray[np.int32]
"""Raw units (N,)."""
ARRAY_FILE_ERRORS = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, OverflowError, MemoryError),
    *(RecursionError, NotImplementedError, RuntimeError, SyntaxError, struct.error),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What numpy and zipfile raise of an .npy or .npz that is damaged; found by trying."""
PathLike = Union[str, Path]
