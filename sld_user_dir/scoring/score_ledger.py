"""From hypotheses and references to what was scored."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, Optional, Sequence

from sld_user_dir.files import iter_lines
from sld_user_dir.ledger.ledger_entry import Change, Flow, LedgerEntry, LedgerError, total
from sld_user_dir.ledger.ledger_file import check_flow, write_ledger
from sld_user_dir.manifests.manifest_counts import unit_manifest_counts
from sld_user_dir.scoring.hypotheses import DecodedUtterance


def score_ledger(
    report: Optional[Path], outputs: Sequence[Path], manifests: Sequence[Path], records: Sequence[DecodedUtterance]
) -> None:
    """Compare what was scored with the files, and with what stages before say; write it beside a report.

    Args:
        report: file of the report, if one is written.
        outputs: of fairseq-generate.
        manifests: of the test sets, if they were given.

    Raises:
        LedgerError: something was lost without a reason.
    """
    decoded = sum(len(set(_rows(path))) for path in outputs)
    empty = len(records) - decoded
    gained = [Change("not decoded, counted as empty (--missing-as-empty)", {"utterances": empty})] if empty else []
    flows = [Flow(list(outputs), {"utterances": decoded}, gained=gained if manifests else [])]
    words = {} if not manifests else {"words": sum(len((one.reference or "").split()) for one in records)}
    if manifests:
        flows.append(Flow(list(manifests), total(map(unit_manifest_counts, manifests))))
    entry = LedgerEntry("score", report, {"utterances": len(records), **words}, flows)
    if report is not None:
        write_ledger(entry)
        return
    for problem in entry.problems():
        raise LedgerError(outputs[0], problem, "decode and score again")
    for flow in flows:
        check_flow(flow)


def _rows(path: Path) -> Iterator[str]:
    """The row that each best or further hypothesis is of."""
    for line in iter_lines(path):
        if line.startswith("H-"):
            yield line.partition("\t")[0]
