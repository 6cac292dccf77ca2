"""What made imported units: as far as the user states it, in agreement with the files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from sld_user_dir.files import read_json
from sld_user_dir.interop.records import InteropError, UnitFile, UnitRecord
from sld_user_dir.manifests.provenance import UNKNOWN, UnitProvenance
from sld_user_dir.manifests.unit_manifest import read_manifest


@dataclass
class Statement:
    """What the user knows about the units' making. Said in part, the rest stays unknown."""

    num_units: Optional[int] = None
    """K; needed where the format does not tell it"""
    encoder: Optional[str] = None
    """feature extractor, with every setting that changes its output"""
    layer: Optional[int] = None
    """its Transformer layer"""
    frame_rate_hz: Optional[float] = None
    """units a second before de-duplication; counts are checked against the audio's length by it"""
    kmeans: Optional[str] = None
    """`sha256:…` of the centroids, or the k-means file (.npz) itself"""
    sample_rate: int = 16_000
    """of the recordings that a fairseq manifest lists, which does not tell it"""
    deduplicated: Optional[bool] = None
    """whether runs of a unit were collapsed; by default, what the format or the units tell"""
    provenance: Optional[Path] = None
    """take all of this from a unit manifest, or from the `.provenance.json` of an export"""

    def __post_init__(self) -> None:
        stated = {"num-units": self.num_units, "frame-rate-hz": self.frame_rate_hz, "sample-rate": self.sample_rate}
        for option, value in stated.items():
            if value is not None and not 0 < value < float("inf"):
                raise InteropError(f"--{option} {value:g}", "no such thing", "state it as it was, a number above 0")


def stated_provenance(statement: Statement, read: UnitFile, records: list[UnitRecord]) -> UnitProvenance:
    """Provenance as far as it has been stated.

    Raises:
        InteropError: K is not known, or what was stated contradicts the files.
    """
    if statement.provenance is not None:
        return _agree(load_provenance(statement.provenance), read, records)
    k, kmeans = statement.num_units, statement.kmeans
    if kmeans is not None and kmeans.endswith(".npz"):
        from sld_user_dir.clustering.kmeans import KMeans  # faiss, where it is needed

        loaded = KMeans.load(kmeans)
        if k not in (None, loaded.num_units):
            raise InteropError(kmeans, f"{loaded.num_units} units, --num-units says {k}", "drop one of the two")
        k, kmeans = loaded.num_units, loaded.sha256
    k = k or read.num_units
    if k is None:
        top = max(int(r.units.max()) for r in records)
        raise InteropError(
            records[0].where,
            f"the format does not tell the number of units (the largest is {top})",
            "state --num-units",
        )
    made_by = UnitProvenance(
        statement.encoder or UNKNOWN,
        statement.layer,
        statement.frame_rate_hz or 0.0,
        kmeans or UNKNOWN,
        k,
        looks_deduplicated(read, records) if statement.deduplicated is None else statement.deduplicated,
    )
    return _agree(made_by, read, records)


def load_provenance(path: Path) -> UnitProvenance:
    """Of a unit manifest, or of the JSON file beside an export.

    Raises:
        InputError: it holds no provenance.
    """
    if path.suffix != ".json":
        return read_manifest(path).provenance
    try:
        return UnitProvenance.from_json(read_json(path, InteropError))
    except InteropError:
        raise
    except (ValueError, TypeError) as error:
        raise InteropError(path, f"no provenance ({error})", "name a unit manifest or an export's file") from None


def stated_frame_rate_hz(statement: Statement) -> Optional[float]:
    """Units a second before de-duplication, where they were stated."""
    if statement.frame_rate_hz or statement.provenance is None:
        return statement.frame_rate_hz
    return load_provenance(statement.provenance).frame_rate_hz or None


def _agree(made_by: UnitProvenance, read: UnitFile, records: list[UnitRecord]) -> UnitProvenance:
    first = records[0].where
    if read.num_units not in (None, made_by.num_units):
        raise InteropError(
            first, f"units of K={read.num_units}, stated is K={made_by.num_units}", "correct --num-units"
        )
    if read.deduplicated not in (None, made_by.deduplicated):
        said = "de-duplicated" if read.deduplicated else "not de-duplicated"
        raise InteropError(first, f"this format is {said}", "correct --deduplicated")
    return made_by


def first_repeat(record: UnitRecord) -> Optional[int]:
    """Where a unit follows itself, or None."""
    same = (record.units[1:] == record.units[:-1]).nonzero()[0]
    return int(same[0]) if len(same) else None


def looks_deduplicated(read: UnitFile, records: list[UnitRecord]) -> bool:
    """What the format says; else, whether no unit follows itself in any utterance."""
    if read.deduplicated is not None:
        return read.deduplicated
    return all(first_repeat(r) is None for r in records)


def check_units(records: list[UnitRecord], made_by: UnitProvenance) -> None:
    """Every unit below K, and de-duplicated and raw utterances not mixed.

    Raises:
        InteropError: at the first utterance that is wrong.
    """
    collapsed = next((r for r in records if r.durations is not None and (r.durations > 1).any()), None)
    for r in records:
        if r.units.max() >= made_by.num_units:
            raise InteropError(
                r.where,
                f"unit {r.units.max()} of {r.id!r} is outside 0 … {made_by.num_units - 1}",
                "bos, eos and padding do not belong here, nor units of another k-means: correct --num-units or the "
                "units",
            )
        at = first_repeat(r)
        if at is not None and (made_by.deduplicated or collapsed is not None):
            other = f"those at {collapsed.where}" if collapsed else "these units, as stated or by their format,"
            raise InteropError(
                r.where,
                f"unit {r.units[at]} of {r.id!r} follows itself, but {other} are de-duplicated",
                "such units do not mix: de-duplicate all or none",
            )
