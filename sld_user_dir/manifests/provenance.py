"""What made the units of a manifest: units mean nothing without it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

UNKNOWN = "unknown"
OWN_CODES = "own-codes"
"""In place of a k-means: the units are what a speech tokenizer gives by itself."""


@dataclass(frozen=True)
class UnitProvenance:
    """What made the units. Two manifests mix only if their fingerprints agree."""

    encoder: str
    """Feature extractor with every setting that changes its output."""
    layer: Optional[int]
    """Transformer layer of a self-supervised encoder, None for MFCC."""
    frame_rate_hz: float
    """Units per second before de-duplication."""
    kmeans: str
    """`sha256:…` of the centroids, or `OWN_CODES`."""
    num_units: int
    """Size of the unit vocabulary: K, or the number of unit subwords."""
    deduplicated: bool = False
    """Whether runs of the same unit were collapsed."""
    subword: Optional[str] = None
    """`sha256:…` of the subword model over units, if any."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Anything else that changes the units."""

    @property
    def fingerprint(self) -> str:
        """16 hex characters over all fields (SHA-256 of canonical JSON)."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def from_json(cls, stated: Any) -> UnitProvenance:
        """What a header or an export states.

        Raises:
            ValueError, TypeError: it is no object with these fields, or states no number of units.
        """
        made_by = cls(**stated)
        if type(made_by.num_units) is not int or made_by.num_units < 1:
            raise ValueError(f"num_units is {made_by.num_units!r}, no number of units")
        return made_by

    @classmethod
    def unknown(cls, num_units: int) -> UnitProvenance:
        """For imported units whose origin nobody has stated."""
        return cls(UNKNOWN, None, 0.0, UNKNOWN, num_units)

    @property
    def collapsed(self) -> bool:
        """Whether no unit can follow itself; subwords of de-duplicated units can."""
        return self.deduplicated and self.subword is None

    def describe(self) -> str:
        """One line for messages."""
        layer = "" if self.layer is None else f" layer {self.layer}"
        made = "a tokenizer's own codes" if self.kmeans == OWN_CODES else f"k-means {self.kmeans[:19]}"
        return (
            f"{self.fingerprint} ({self.encoder}{layer}, {self.frame_rate_hz:g} Hz, "
            f"K={self.num_units}, {made}, "
            f"{'de-duplicated' if self.deduplicated else 'not de-duplicated'})"
        )
