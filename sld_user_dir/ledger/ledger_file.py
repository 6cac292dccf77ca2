"""The file `OUT.ledger.json` beside an output; docs/ledger.md has its format."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Optional

from sld_user_dir.files import atomic_path, read_json, sha256_of
from sld_user_dir.ledger.ledger_entry import (
    Change,
    Counts,
    Flow,
    LedgerEntry,
    LedgerError,
    as_json,
    shared_measures,
    total,
)

FORMAT = "sld-ledger/1"
SUFFIX = ".ledger.json"
REMEDY = "make the file again; if it was changed on purpose, remove its ledger"


def ledger_path(out: Path) -> Path:
    """`train.tsv` -> `train.tsv.ledger.json`."""
    return out.with_name(out.name + SUFFIX)


def write_ledger(entry: LedgerEntry, path: Optional[Path] = None, hashed: Optional[dict[Path, str]] = None) -> Path:
    """Write what a stage counted, beside its output; an entry that does not balance is written, too, and then refused.

    Args:
        path: the file to write where the output is none.
        hashed: SHA-256 of files, or how it begins, where it is known already; empty for those that still change.

    Raises:
        LedgerError: something was lost without a reason, or an input is not what the stage before it wrote.
    """
    assert path is not None or entry.out is not None
    path = path or ledger_path(entry.out or Path())
    known = hashed or {}
    files = [file for flow in entry.flows for file in flow.files] + ([entry.out] if entry.out else [])
    hashes = {
        file: known[file] if file in known else sha256_of(file) for file in files if file in known or file.is_file()
    }
    with atomic_path(path) as aside:
        text = json.dumps(_to_json(entry, hashes, path.parent), ensure_ascii=False, indent=1)
        aside.write_text(text + "\n", encoding="utf-8")
    for problem in entry.problems():
        raise LedgerError(path, problem, "this is a fault of the program, or a file changed meanwhile: run it again")
    for flow in entry.flows:
        check_flow(flow)
    return path


def check_flow(flow: Flow) -> None:
    """Compare what a stage read with what the stages before it say that they wrote, where they do.

    Raises:
        LedgerError: names the file and both numbers.
    """
    before = {file: ledger_path(file) for file in flow.files if ledger_path(file).exists()}
    if before.keys() != set(flow.files):
        return  # one of them comes from elsewhere
    entries = [read_ledger(path) for path in before.values()]
    wrote = total(one.counts for one in entries)
    for measure in shared_measures(wrote, flow.counts):
        if wrote[measure] != flow.counts[measure]:
            ledgers = ", ".join(map(str, before.values()))
            problem = (
                f"{flow.counts[measure]:,} {measure}, but {ledgers} counted {wrote[measure]:,} when it was written"
            )
            raise LedgerError(", ".join(map(str, flow.files)), problem, REMEDY)


def read_ledger(path: Path) -> LedgerEntry:
    """What `write_ledger` wrote; paths come back as they are from here.

    Raises:
        LedgerError: no such file, or another one.
    """
    content = read_json(path, LedgerError)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise LedgerError(path, f"not a ledger: no format {FORMAT}", "remove it, and run the stage again")
    try:
        return _from_json(content, path.parent)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LedgerError(path, f"a damaged ledger ({error!r})", "remove it, and run the stage again") from None


def _to_json(entry: LedgerEntry, hashes: dict[Path, str], folder: Path) -> dict[str, Any]:
    def file(path: Path) -> dict[str, Optional[str]]:
        return {"path": os.path.relpath(path, folder), "sha256": hashes.get(path) or None}

    flows = [
        {
            "files": [file(path) for path in flow.files],
            "counts": flow.counts,
            "gained": as_json(flow.gained),
            "lost": as_json(flow.lost),
            "converted": list(flow.converted),
        }
        for flow in entry.flows
    ]
    out = {**(file(entry.out) if entry.out else {"path": None}), "counts": entry.counts}
    return {"format": FORMAT, "stage": entry.stage, "in": flows, "out": out}


def _from_json(content: dict[str, Any], folder: Path) -> LedgerEntry:
    hashes: dict[Path, str] = {}

    def file(stated: dict[str, Any]) -> Path:
        path = Path(os.path.normpath(folder / stated["path"]))
        if stated.get("sha256"):
            hashes[path] = stated["sha256"]
        return path

    def counts(stated: dict[str, Any]) -> Counts:
        return {str(measure): int(number) for measure, number in stated.items()}

    def changed(stated: list[dict[str, Any]]) -> list[Change]:
        return [Change(str(one["reason"]), counts(one["counts"])) for one in stated]

    def flow(stated: dict[str, Any]) -> Flow:
        files, converted = [file(one) for one in stated["files"]], tuple(map(str, stated["converted"]))
        return Flow(files, counts(stated["counts"]), changed(stated["lost"]), changed(stated["gained"]), converted)

    out = content["out"]
    path = None if out["path"] is None else file(out)
    return LedgerEntry(str(content["stage"]), path, counts(out["counts"]), list(map(flow, content["in"])), hashes)
