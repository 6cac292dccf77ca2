"""Word error rates of the report by length and by speaker."""

from __future__ import annotations

import itertools
from typing import Callable, Sequence

import numpy as np

from sld_user_dir.scoring.rates import LENGTH_BUCKETS
from sld_user_dir.sweep.cell_groups import CellGroup
from sld_user_dir.sweep.figure_text import share
from sld_user_dir.sweep.sections import Grid, Section

MOST_SPEAKERS = 12
"""Test sets of more speakers are not broken down by speaker in the report: the rows hold them all."""


def by_length(groups: Sequence[CellGroup]) -> Section:
    """The section of rates by the length of the reference."""
    bounds = [0, *LENGTH_BUCKETS, 10**9]
    named = [f"{low + 1} to {high}" if high < 10**9 else f"over {low}" for low, high in itertools.pairwise(bounds)]

    def cells(group: CellGroup) -> list[str]:
        table = group.errors()
        inside = [(table.lengths > low) & (table.lengths <= high) for low, high in itertools.pairwise(bounds)]
        return [share(table.errors[:, mask].mean(axis=0).sum(), table.lengths[mask].sum()) for mask in inside]

    return Section("Word error rate by length of the reference, in words", (), [breakdown(groups, named, cells)])


def by_speaker(groups: Sequence[CellGroup]) -> Section:
    """The section of rates by speaker."""
    grids = []
    text = ["Where a test set has more speakers than a table holds: the quartiles of the speakers' word error rates."]
    many = [g for g in groups if len(set(g.rows[0]["speakers"])) > MOST_SPEAKERS]
    if many:
        named = ["speakers", "lowest", "lower quartile", "median", "upper quartile", "highest"]
        grids.append(breakdown(many, named, _quartiles))
    for key in dict.fromkeys((g.condition, g.test_set) for g in groups if g not in many):
        few = [g for g in groups if (g.condition, g.test_set) == key]
        speakers = sorted(set(few[0].rows[0]["speakers"]))
        if len(speakers) > 1:
            grids.append(breakdown(few, speakers, lambda g: [f"{rate:.1f}" for rate in _speaker_rates(g)]))
    return Section("Word error rate by speaker", text, grids)


def _quartiles(group: CellGroup) -> list[str]:
    rates = _speaker_rates(group)
    return [str(len(rates)), *(f"{value:.1f}" for value in np.percentile(rates, [0, 25, 50, 75, 100]))]


def _speaker_rates(group: CellGroup) -> list[float]:
    table = group.errors()
    labels = np.unique(np.asarray(table.blocks), return_inverse=True)[1]
    errors = np.bincount(labels, weights=table.errors.mean(axis=0))
    return (100.0 * errors / np.bincount(labels, weights=table.lengths)).tolist()


def breakdown(groups: Sequence[CellGroup], names: Sequence[str], cells: Callable[[CellGroup], list[str]]) -> Grid:
    rows = [[f"`{g.condition}`", g.test_set, f"`{g.objective}`", *cells(g)] for g in groups]
    return Grid(["condition", "test set", "objective", *names], rows)
