"""When the units of an utterance begin and end, in seconds of its recording.

Durations count frames of the encoder, and come with the units through every stage: `sld units` counts the frames of a
run that it collapses, `sld subwords` adds up those of a piece, and the frame rate of the provenance is that of stacked
frames. A recording that was played at another speed is shown at its own: its times are multiplied by the speed.
"""

from __future__ import annotations

import re
from typing import Optional

import numpy as np
import numpy.typing as npt

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_manifest import ManifestError, Utterance

Seconds = npt.NDArray[np.float64]
_SPEED_PREFIX = re.compile(r"sp(\d+(?:\.\d+)?)-")
SPEED_COLUMN = "speed"


def check_frame_rate(provenance: UnitProvenance, where: str) -> None:
    """Whether the units have a rate.

    Raises:
        ManifestError: nobody has stated it, as of some imported units.
    """
    if not provenance.frame_rate_hz > 0:
        problem = "its provenance states no frame rate, so nobody knows when a unit was said"
        raise ManifestError(where, problem, "import the units again with --frame-rate-hz")


def unit_edges(utterance: Utterance, provenance: UnitProvenance, where: str) -> Seconds:
    """Where each unit begins, and the last one ends: (N + 1,) seconds.

    Args:
        where: file and line, for errors.

    Raises:
        ManifestError: units of no known duration: collapsed or joined ones without the column `durations`, or of no
            known rate.
    """
    check_frame_rate(provenance, where)
    durations = utterance.durations
    if durations is None:
        if provenance.deduplicated or provenance.subword is not None:
            what = "subwords" if provenance.subword is not None else "de-duplicated units"
            problem = f"{what} without the column 'durations', so nobody knows when a unit was said"
            raise ManifestError(where, problem, "make the manifest again with sld units, and sld subwords")
        durations = np.ones(len(utterance.units), dtype=np.int64)
    return edges_of(durations, provenance.frame_rate_hz, speed_of(utterance, where))


def edges_of(durations: npt.NDArray[np.int64], frame_rate_hz: float, speed: float = 1.0) -> Seconds:
    """Edges (N + 1,) in seconds of units that last so many frames (N,)."""
    return np.concatenate([[0], np.cumsum(durations)]) * (speed / frame_rate_hz)


def speed_of(utterance: Utterance, where: str) -> float:
    """How fast the recording was played: the column `speed`, or what `sld audio --speeds` put before the id."""
    stated: Optional[str] = utterance.fields.get(SPEED_COLUMN)
    if not stated:
        named = _SPEED_PREFIX.match(utterance.id)
        return float(named[1]) if named else 1.0
    try:
        speed = float(stated)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise InputError(where, f"speed {stated!r}", "a speed is a factor above 0, such as 0.9")
    return speed
