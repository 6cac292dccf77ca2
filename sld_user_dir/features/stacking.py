"""Frame stacking: n neighbouring frames side by side, one output frame each n ("down sampling")."""

from __future__ import annotations

import numpy as np

from sld_user_dir.arrays import FloatArray


def stack_frames(frames: FloatArray, n: int) -> FloatArray:
    """Concatenate each run of `n` frames: (T, D) -> (ceil(T / n), n * D).

    The last run is completed by repeating the last frame, so no speech is dropped.
    """
    if n < 1:
        raise ValueError(f"frames are stacked by 1 or more, not by {n}")
    if n == 1:
        return frames
    missing = -len(frames) % n
    if missing:
        frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    return np.ascontiguousarray(frames.reshape(len(frames) // n, n * frames.shape[1]))


def stacked_length(n_frames: int, n: int) -> int:
    """How many frames `stack_frames` makes of `n_frames`."""
    return -(-n_frames // n)
