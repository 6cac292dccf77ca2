"""Names of the arrays and paths that go through the stages before training."""

from __future__ import annotations

from pathlib import Path
from typing import Union

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
"""Waveforms (n_samples,) or frames (T, D)."""
UnitArray = npt.NDArray[np.int32]
"""Raw units (N,)."""
PathLike = Union[str, Path]
