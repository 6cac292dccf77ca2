"""Foreign unit files to our unit manifest."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional, Sequence

from sld_user_dir.interop.detection import FEATURES, format_named
from sld_user_dir.interop.join import Joined, Table, audio_table, join, text_table
from sld_user_dir.interop.records import InteropError, UnitFile, UnitRecord, beside
from sld_user_dir.interop.unit_format import UnitFormat
from sld_user_dir.manifests.provenance import UNKNOWN, UnitProvenance
from sld_user_dir.manifests.unit_manifest import REQUIRED, Utterance, read_manifest, write_manifest


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


@dataclass(frozen=True)
class Imported:
    """What became of the files."""

    format: str
    written: int
    provenance: UnitProvenance
    without_units: list[str]
    without_row: list[str]


def import_units(
    paths: Sequence[Path],
    out: Path,
    *,
    format_name: Optional[str] = None,
    text: Optional[Path] = None,
    audio: Optional[Path] = None,
    statement: Optional[Statement] = None,
    allow_missing: bool = False,
    header: Optional[dict[str, Any]] = None,
) -> Imported:
    """Read unit files of one format, join them by id, and write a unit manifest.

    Args:
        paths: files of one format: the shards of a corpus.
        text: transcripts by id, where the format holds none.
        audio: audio manifest: transcripts, speakers and lengths by id.
        allow_missing: leave out what only one side has, instead of refusing.

    Raises:
        InteropError: anything that cannot be right, with file, line and remedy.
    """
    statement = statement or Statement()
    read, kind = _read_all(paths, format_name, statement)
    stated = statement.frame_rate_hz or _provenance_of(statement, "frame_rate_hz")
    records, without_units, without_row = read.records, [], []
    if kind.name == "km" and stated and audio is None and len(paths) == 1:
        audio = beside(paths[0], ".tsv")  # lengths, to check the units against
    for table in _tables(text, audio, kind.name == "gslm", statement.sample_rate):
        done: Joined = join(records, table, allow_missing, stated)
        records = done.records
        without_units += done.without_units
        without_row += done.without_row
    _check(records, text or audio)
    provenance = state(statement, read, records)
    _check_units(records, provenance)
    n = write_manifest(out, _utterances(records), provenance, {**_header(read, paths, kind), **(header or {})})
    return Imported(kind.name, n, provenance, without_units, without_row)


def _read_all(paths: Sequence[Path], name: Optional[str], statement: Statement) -> tuple[UnitFile, UnitFormat]:
    if not paths:
        raise InteropError(None, "no unit files", "name at least one")
    kinds = [format_named(name, path) for path in paths]
    for kind, path in zip(kinds, paths):
        if kind is not kinds[0]:
            raise InteropError(None, f"{path} is {kind.name}, {paths[0]} is {kinds[0].name}", "import them one by one")
    files = [_read(kind, path, statement) for kind, path in zip(kinds, paths)]
    for one, path in zip(files, paths):
        for what in ("num_units", "deduplicated", "header"):
            if getattr(one, what) != getattr(files[0], what):
                raise InteropError(
                    path,
                    f"{what} {getattr(one, what)}, but {getattr(files[0], what)} in {paths[0]}",
                    "such units do not mix: import them one by one",
                )
    records = [r for one in files for r in one.records]
    if not records:
        raise InteropError(f"{paths[0]}", "no utterances", "check the path")
    return UnitFile(records, files[0].num_units, files[0].deduplicated, files[0].header), kinds[0]


def _read(kind: UnitFormat, path: Path, statement: Statement) -> UnitFile:
    if kind is FEATURES:
        from sld_user_dir.interop.simple_kmeans import read_features  # faiss, where it is needed

        return read_features(path, statement.kmeans)
    file = kind.read(path)
    return file if kind.deduplicated is None else replace(file, deduplicated=kind.deduplicated)


def _tables(text: Optional[Path], audio: Optional[Path], repair: bool, rate: int) -> list[Table]:
    made = [] if audio is None else [audio_table(audio, repair, rate)]
    return made if text is None else [*made, text_table(text, repair)]


def _check(records: list[UnitRecord], source: Optional[Path]) -> None:
    seen: dict[str, str] = {}
    for r in records:
        if not r.id:
            raise InteropError(r.where, "empty id", "give every utterance one of its own")
        if r.id in seen:
            raise InteropError(r.where, f"{r.id!r} again, first at {seen[r.id]}", "rename or remove one")
        seen[r.id] = r.where
        if not (r.text or "").strip():
            remedy = f"{source} has none either" if source else "give transcripts by --text or --audio"
            raise InteropError(r.where, f"no transcript of {r.id!r}", remedy)


def _utterances(records: list[UnitRecord]) -> list[Utterance]:
    columns = {name: None for r in records for name in r.fields}
    taken = [name for name in columns if name in (*REQUIRED, "durations") or "\t" in name]
    if taken:
        raise InteropError(f"{records[0].where}", f"a column {taken[0]!r} cannot be kept beside ours", "rename it")
    timed = all(r.durations is not None for r in records)
    return [
        Utterance(
            r.id,
            r.units,
            " ".join((r.text or "").split()),
            r.durations if timed else None,
            {name: r.fields.get(name, "") for name in columns},
        )
        for r in records
    ]


def _header(read: UnitFile, paths: Sequence[Path], kind: UnitFormat) -> dict[str, Any]:
    return {"imported": {"format": kind.name, "files": [path.name for path in paths]}, **read.header}


# -- provenance ------------------------------------------------------------------------
def state(statement: Statement, read: UnitFile, records: list[UnitRecord]) -> UnitProvenance:
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
            None, f"the format does not tell the number of units (the largest is {top})", "state --num-units"
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
    """Of a unit manifest, or of the JSON file beside an export."""
    if path.suffix != ".json":
        return read_manifest(path).provenance
    try:
        return UnitProvenance(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InteropError(path, f"no provenance ({error})", "name a unit manifest or an export's file") from None


def _provenance_of(statement: Statement, name: str) -> Optional[float]:
    if statement.provenance is None:
        return None
    return asdict(load_provenance(statement.provenance))[name] or None


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


def repeat(record: UnitRecord) -> Optional[int]:
    """Where a unit follows itself, or None."""
    same = (record.units[1:] == record.units[:-1]).nonzero()[0]
    return int(same[0]) if len(same) else None


def looks_deduplicated(read: UnitFile, records: list[UnitRecord]) -> bool:
    """What the format says; else, whether no unit follows itself in any utterance."""
    if read.deduplicated is not None:
        return read.deduplicated
    return all(repeat(r) is None for r in records)


def _check_units(records: list[UnitRecord], made_by: UnitProvenance) -> None:
    """Every unit below K, and de-duplicated and raw utterances not mixed."""
    collapsed = next((r for r in records if r.durations is not None and (r.durations > 1).any()), None)
    for r in records:
        if r.units.max() >= made_by.num_units:
            raise InteropError(
                r.where,
                f"unit {r.units.max()} of {r.id!r} is outside 0 … {made_by.num_units - 1}",
                "bos, eos and padding do not belong here, nor units of another k-means: correct --num-units or the "
                "units",
            )
        at = repeat(r)
        if at is not None and (made_by.deduplicated or collapsed is not None):
            other = f"those at {collapsed.where}" if collapsed else "these units, as stated or by their format,"
            raise InteropError(
                r.where,
                f"unit {r.units[at]} of {r.id!r} follows itself, but {other} are de-duplicated",
                "such units do not mix: de-duplicate all or none",
            )
