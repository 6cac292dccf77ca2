"""Our unit manifest to foreign unit files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Optional

from sld_user_dir.interop.join import audio_table
from sld_user_dir.interop.records import InteropError, UnitRecord, write_lines
from sld_user_dir.interop.unit_format import unit_formats
from sld_user_dir.manifests.named_columns import table_line
from sld_user_dir.manifests.unit_manifest import Manifest, read_manifest


@dataclass(frozen=True)
class Exported:
    """Files written, and what the format could not hold."""

    files: list[Path]
    lost: list[str]


def records_of(manifest: Manifest) -> list[UnitRecord]:
    """A manifest as records whose place is their line in it."""
    return [
        UnitRecord(u.id, u.units, u.durations, u.text, u.fields, f"{manifest.path}:{manifest.line(i)}")
        for i, u in enumerate(manifest)
    ]


def export_units(manifest_path: Path, out: Path, format_name: str, audio: Optional[Path] = None) -> Exported:
    """Write a manifest in a foreign format.

    Beside it, `OUT.provenance.json` holds the provenance, and `OUT.text` the transcripts
    (`id<TAB>text`) where the format has no place for them: importing both gives the manifest back.

    Args:
        audio: audio manifest, ours or fairseq's, for formats that want paths and lengths.

    Raises:
        InteropError: no such format, an utterance that the audio manifest lacks, or ids and units that it cannot hold.
    """
    if format_name not in unit_formats():
        raise InteropError(f"--format {format_name}", "no such format", f"choose one of: {', '.join(unit_formats())}")
    kind = unit_formats()[format_name]
    manifest = read_manifest(manifest_path)
    if not len(manifest):
        raise InteropError(manifest_path, "no utterances", "nothing to export")
    if kind.deduplicated not in (None, manifest.provenance.deduplicated):
        is_, wants = ("", "raw") if manifest.provenance.deduplicated else ("not ", "de-duplicated")
        raise InteropError(
            manifest_path, f"units are {is_}de-duplicated, but {format_name} wants them {wants}", "extract them again"
        )
    records = records_of(manifest) if audio is None else _with_audio(records_of(manifest), audio)
    for r in records:
        table_line([r.id, *r.fields.values()], ["id", *r.fields], r.where, InteropError)
    out = out if out.suffix == kind.suffix or not kind.suffix else out.with_name(out.name + kind.suffix)
    header = {**manifest.header, "num_units": manifest.provenance.num_units}
    files = kind.write(out, records, header)
    if "text" not in kind.holds:
        lines = (f"{r.id}\t{r.text}" for r in records)
        files.append(write_lines(out.with_name(out.name + ".text"), lines))
    beside = out.with_name(out.name + ".provenance.json")
    made_by = json.dumps(asdict(manifest.provenance), indent=1, ensure_ascii=False)
    files.append(write_lines(beside, made_by.split("\n")))
    columns = [c for c in manifest.columns if c not in ("id", "units", "text", *kind.holds)]
    return Exported(files, columns)


def _with_audio(records: list[UnitRecord], audio: Path) -> list[UnitRecord]:
    """The records with the paths and lengths of their recordings."""
    table = audio_table(audio)
    found = []
    for record in records:
        row = table.find(record)
        if row is None:
            raise InteropError(record.where, f"{record.id!r} is not in {audio}", "add its recording there")
        found.append(replace(record, fields={**record.fields, **row.fields}))
    return found
