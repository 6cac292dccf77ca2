"""Nearest centroids of many frames: one matrix product and an arg-min, block by block.

|x - c|^2 = |x|^2 - 2 x.c + |c|^2, of which |x|^2 decides nothing. With a 1 appended to the frame,
[x, 1] @ [-2c, |c|^2] gives the rest at once. Short utterances are joined into the same block.
"""

from __future__ import annotations

from typing import Protocol, Sequence

import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import FloatArray, UnitArray

BLOCK_ROWS = 1024  # frames and scores of a block stay in the cache


class Assigner(Protocol):
    """Frames of several utterances, each (T, D), to their units, each int32 (T,)."""

    def __call__(self, utterances: Sequence[FloatArray]) -> list[UnitArray]:
        """Units of each utterance."""


class CpuAssigner:
    """In numpy, with buffers that are kept between calls (so one for each thread)."""

    def __init__(self, centroids: FloatArray) -> None:
        n_units, dim = centroids.shape
        norms = np.square(centroids.astype(np.float64)).sum(axis=1)
        self._weights = np.concatenate([-2 * centroids.T, norms[None]]).astype(np.float32)  # (D + 1, K)
        self._rows = np.ones((BLOCK_ROWS, dim + 1), dtype=np.float32)
        self._scores = np.empty((BLOCK_ROWS, n_units), dtype=np.float32)

    def __call__(self, utterances: Sequence[FloatArray]) -> list[UnitArray]:
        lengths = [len(frames) for frames in utterances]
        units = np.empty(sum(lengths), dtype=np.int32)
        filled = done = 0
        for frames in utterances:
            start = 0
            while start < len(frames):
                take = min(BLOCK_ROWS - filled, len(frames) - start)
                self._rows[filled : filled + take, :-1] = frames[start : start + take]
                filled, start = filled + take, start + take
                if filled == BLOCK_ROWS:
                    units[done : done + filled] = self._nearest(filled)
                    done, filled = done + filled, 0
        units[done:] = self._nearest(filled)
        return np.split(units, np.cumsum(lengths)[:-1])

    def _nearest(self, n: int) -> npt.NDArray[np.int64]:
        scores = np.matmul(self._rows[:n], self._weights, out=self._scores[:n])
        nearest: npt.NDArray[np.int64] = scores.argmin(axis=1)
        return nearest


class TorchAssigner:
    """The same on a GPU: beside an encoder on it, the CPU would be the slower part."""

    def __init__(self, centroids: FloatArray, device: str = "cuda") -> None:
        import torch

        self._torch, self._device = torch, device
        self._centroids = torch.from_numpy(centroids).to(device)  # (K, D)
        self._norms = self._centroids.double().square().sum(dim=1).float()

    def __call__(self, utterances: Sequence[FloatArray]) -> list[UnitArray]:
        lengths = [len(frames) for frames in utterances]
        joined = self._torch.from_numpy(np.concatenate(utterances)).to(self._device)
        nearest = [
            self._torch.addmm(self._norms, block, self._centroids.T, alpha=-2).argmin(dim=1)
            for block in joined.split(8 * BLOCK_ROWS)
        ]
        units = self._torch.cat(nearest).cpu().numpy().astype(np.int32) if nearest else np.zeros(0, np.int32)
        return np.split(units, np.cumsum(lengths)[:-1])
