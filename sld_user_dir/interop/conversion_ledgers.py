"""What `sld import` and `sld export` counted, written beside what they wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, Sequence

from sld_user_dir.interop.join import Joined, JoinTable
from sld_user_dir.interop.records import UnitRecord
from sld_user_dir.interop.unit_format import unit_formats
from sld_user_dir.ledger.ledger_entry import Change, Counts, Flow, LedgerEntry
from sld_user_dir.ledger.ledger_file import write_ledger
from sld_user_dir.manifests.manifest_counts import unit_manifest_counts


def record_counts(records: Iterable[UnitRecord]) -> Counts:
    """Utterances and units of records."""
    lengths = [len(one.units) for one in records]
    return {"utterances": len(lengths), "units": sum(lengths)}


def import_flows(
    paths: Sequence[Path], read: Sequence[UnitRecord], joins: Sequence[tuple[JoinTable, Joined]]
) -> list[Flow]:
    """The flow of the units, and one for each table that they were joined with, in the order of the joins."""
    units = {one.id: one for one in read}
    flows = [Flow(list(paths), record_counts(read))]
    for number, (table, done) in enumerate(joins):
        if done.without_row:
            lost = record_counts(units[name] for name in done.without_row if name in units)
            lost["utterances"] = len(done.without_row)
            flows[0].lost.append(Change(f"not in {table.path.name}", lost))
        rows = Flow([table.path], {"utterances": len(table.rows)})
        later = sum(len(other.without_row) for _, other in joins[number + 1 :])
        for reason, count in (("without units", len(done.without_units)), ("not in another table", later)):
            if count:
                rows.lost.append(Change(reason, {"utterances": count}))
        flows.append(rows)
        units = {one.id: one for one in done.records}
    return flows


def import_ledger(out: Path, flows: list[Flow]) -> None:
    """Of `sld import`."""
    write_ledger(LedgerEntry("import", out, unit_manifest_counts(out), flows))


def export_ledger(out: Path, manifest: Path, format_name: str, lost_columns: Sequence[str]) -> None:
    """Of `sld export`: what was written is read again."""
    lost = [Change(f"{format_name} has no place for the column {name}", {}) for name in lost_columns]
    written = record_counts(unit_formats()[format_name].read(out).records)
    write_ledger(LedgerEntry("export", out, written, [Flow([manifest], unit_manifest_counts(manifest), lost)]))
