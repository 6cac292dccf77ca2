"""Move centroids from where they save little to where they save much.

Lloyd's iterations only ever move a centroid a little: two that share a dense cloud stay there, and one that
serves two clouds stays between them, whatever the start. The enhanced LBG algorithm (Patané & Russo,
Neural Networks 14(9), 2001) moves the useless ones across; this is the same idea, many at a time, judged by
the inertia after a few of Lloyd's iterations and taken back where that did not fall.
"""

from __future__ import annotations

import logging
from typing import Callable

import faiss
import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import FloatArray

logger = logging.getLogger(__name__)

FIRST_SHARE = 0.1  # of the centroids that move at first
LAST_SHARE = 0.01  # and at last, when fewer moves no longer pay
SMALL_GAIN = 1e-3  # a round that lowers the inertia by less than this share halves the number of moves
MAX_ROUNDS = 15
SETTLING_ITERATIONS = 3  # before a move is judged
MAX_LOST_SHARE = 0.3  # a split saves about this share of a cluster's distances, so a move may not cost more

NearestTwo = tuple[FloatArray, npt.NDArray[np.int64]]
"""Squared distances and indices, each (n, 2), of the two centroids nearest to each frame."""


def relocate(
    frames: FloatArray,
    centroids: FloatArray,
    settle: Callable[[FloatArray], FloatArray],
    seed: int,
    max_rounds: int = MAX_ROUNDS,
) -> FloatArray:
    """Centroids (K, D) with an inertia on `frames` (n, D) as low as before, or lower.

    Args:
        settle: a few of Lloyd's iterations on `frames`, from centroids to centroids.
        seed: of the places where moved centroids start.
    """
    rng = np.random.default_rng(seed)
    nearest_two = _nearest_two(frames, centroids)
    before = best = _total(nearest_two)
    moves = max(1, int(FIRST_SHARE * len(centroids)))
    for _ in range(max_rounds):
        if moves < max(1, LAST_SHARE * len(centroids)):
            break
        moved = settle(_move(frames, centroids, nearest_two, moves, rng))
        found = _nearest_two(frames, moved)
        gain = best - _total(found)
        if gain < SMALL_GAIN * best:
            moves //= 2
        if gain > 0:
            centroids, nearest_two, best = moved, found, best - gain
    logger.info("k-means: moving centroids lowered the inertia by %.2f %%", 100 * (1 - best / before) if before else 0)
    return centroids


def _nearest_two(frames: FloatArray, centroids: FloatArray) -> NearestTwo:
    index = faiss.IndexFlatL2(centroids.shape[1])
    index.add(centroids)
    distances, indices = index.search(frames, 2)
    return distances, indices


def _total(nearest_two: NearestTwo) -> float:
    return float(nearest_two[0][:, 0].sum(dtype=np.float64))


def _move(
    frames: FloatArray, centroids: FloatArray, nearest_two: NearestTwo, moves: int, rng: np.random.Generator
) -> FloatArray:
    """A copy in which the most dispensable centroids start anew in the clusters that fit worst."""
    (nearest_distance, second_distance), nearest = nearest_two[0].T, nearest_two[1][:, 0]
    spent = np.bincount(nearest, nearest_distance, minlength=len(centroids))
    saved = np.bincount(nearest, second_distance - nearest_distance, minlength=len(centroids))
    dispensable = np.argsort(saved, kind="stable")[:moves]
    order = np.argsort(-spent, kind="stable")
    worst = order[~np.isin(order, dispensable)]
    moved = centroids.copy()
    for source, target in zip(dispensable, worst):
        if saved[source] >= MAX_LOST_SHARE * spent[target]:
            break
        members = np.flatnonzero(nearest == target)
        chances = nearest_distance[members].astype(np.float64)
        moved[source] = frames[rng.choice(members, p=chances / chances.sum())]
    return moved
