"""Many short sequences in one array, in memory or mapped."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import numpy as np


class Ragged(Sequence[Any]):
    """Rows of different lengths in one flat array: row i is `flat[offsets[i]:offsets[i + 1]]`."""

    def __init__(self, flat: np.ndarray, offsets: np.ndarray, rows: Optional[np.ndarray] = None):
        self.flat, self.offsets = flat, offsets
        self.rows = np.arange(len(offsets) - 1) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        row = self.rows[index]
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Of each row, int64 (rows,)."""
        return self.offsets[self.rows + 1] - self.offsets[self.rows]

    def take(self, rows: np.ndarray) -> Ragged:
        """These rows alone, without copying them."""
        return Ragged(self.flat, self.offsets, self.rows[rows])


def ragged(rows: Sequence[Sequence[int]]) -> Ragged:
    """Rows in memory as one array."""
    flat = np.array([i for row in rows for i in row], dtype=np.int32)
    return Ragged(flat, np.cumsum([0, *map(len, rows)], dtype=np.int64))
