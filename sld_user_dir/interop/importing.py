"""Foreign unit files to our unit manifest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional, Sequence

from sld_user_dir.interop.conversion_ledgers import import_flows
from sld_user_dir.interop.detection import FEATURES, format_named
from sld_user_dir.interop.join import Joined, JoinTable, audio_table, join, text_table
from sld_user_dir.interop.records import InteropError, UnitFile, UnitRecord, beside
from sld_user_dir.interop.stated_provenance import Statement, check_units, stated_frame_rate_hz, stated_provenance
from sld_user_dir.interop.unit_format import UnitFormat
from sld_user_dir.ledger.ledger_entry import Flow
from sld_user_dir.manifests.named_columns import cell_problem
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_manifest import REQUIRED, Utterance, write_manifest


@dataclass(frozen=True)
class Imported:
    """What became of the files."""

    format: str
    written: int
    provenance: UnitProvenance
    without_units: list[str]
    without_row: list[str]
    flows: list[Flow]
    """what was counted, for the ledger"""


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
    rate_hz = stated_frame_rate_hz(statement)
    records, without_units, without_row = read.records, [], []
    if kind.audio_suffix and rate_hz and audio is None and len(paths) == 1:
        audio = beside(paths[0], kind.audio_suffix)  # lengths, to check the units against
    joins: list[tuple[JoinTable, Joined]] = []
    for table in _tables(text, audio, kind.truncated_names, statement.sample_rate):
        done: Joined = join(records, table, allow_missing, rate_hz)
        joins.append((table, done))
        records = done.records
        without_units += done.without_units
        without_row += done.without_row
    if not records:
        remedy = "give the transcripts, or the audio manifest, of these units"
        raise InteropError(paths[0], f"no utterance has both units and a row of {text or audio}", remedy)
    _check(records, text or audio)
    provenance = stated_provenance(statement, read, records)
    check_units(records, provenance)
    n = write_manifest(out, _utterances(records), provenance, {**_header(read, paths, kind), **(header or {})})
    flows = import_flows(paths, read.records, joins)
    return Imported(kind.name, n, provenance, without_units, without_row, flows)


def _read_all(paths: Sequence[Path], name: Optional[str], statement: Statement) -> tuple[UnitFile, UnitFormat]:
    if not paths:
        raise InteropError("--units", "no unit files", "name at least one")
    kinds = [format_named(name, path) for path in paths]
    for kind, path in zip(kinds, paths):
        if kind is not kinds[0]:
            raise InteropError(
                path, f"{path.name} is {kind.name}, {paths[0]} is {kinds[0].name}", "import them one by one"
            )
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
        raise InteropError(paths[0], "no utterances", "check the path")
    return UnitFile(records, files[0].num_units, files[0].deduplicated, files[0].header), kinds[0]


def _read(kind: UnitFormat, path: Path, statement: Statement) -> UnitFile:
    if kind is FEATURES:
        from sld_user_dir.interop.simple_kmeans import read_features  # faiss, where it is needed

        return read_features(path, statement.kmeans)
    file = kind.read(path)
    return file if kind.deduplicated is None else replace(file, deduplicated=kind.deduplicated)


def _tables(text: Optional[Path], audio: Optional[Path], repair: bool, rate: int) -> list[JoinTable]:
    made = [] if audio is None else [audio_table(audio, repair, rate)]
    return made if text is None else [*made, text_table(text, repair)]


def _check(records: list[UnitRecord], source: Optional[Path]) -> None:
    seen: dict[str, str] = {}
    for r in records:
        if not r.id:
            raise InteropError(r.where, "empty id", "give every utterance one of its own")
        if cell_problem(r.id, first=True):
            raise InteropError(r.where, f"the id {r.id!r} {cell_problem(r.id, first=True)}", "rename it")
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
        raise InteropError(records[0].where, f"a column {taken[0]!r} cannot be kept beside ours", "rename it")
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
