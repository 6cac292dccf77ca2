"""Recordings that a stage left out, and the table that names them with the reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable

from sld_user_dir.errors import InputError
from sld_user_dir.files import atomic_path, printable, read_lines
from sld_user_dir.manifests.named_columns import table_rows

COLUMNS = ("id", "path", "reason")
REASONS_SHOWN = 3


class NothingLeftError(InputError):
    """No recording of a stage's input can be used."""


@dataclass(frozen=True)
class Rejected:
    """A recording that is left out, and why."""

    id: str
    path: Path
    reason: str


def rejected_path(out: Path) -> Path:
    """`train.tsv` -> `train.rejected.tsv`, and `train.npz` -> `train.npz.rejected.tsv`."""
    return out.with_suffix(".rejected.tsv") if out.suffix == ".tsv" else out.with_name(f"{out.name}.rejected.tsv")


def write_rejected(path: Path, rejected: Iterable[Rejected]) -> None:
    r"""A table of id, path, reason; written even when it is empty, so that none means none.

    Names that no table can hold, such as `caf\xe9.wav` in Latin-1, stand in it with escapes.
    """
    with atomic_path(path) as aside, open(aside, "w", encoding="utf-8", newline="\n") as handle:
        handle.write("\t".join(COLUMNS) + "\n")
        for one in rejected:
            values = (one.id, str(one.path), " ".join(one.reason.split()))
            handle.write("\t".join(map(printable, values)) + "\n")


def read_rejected(path: Path) -> list[Rejected]:
    """What `write_rejected` wrote.

    Raises:
        InputError: no such file, or no such table in it.
    """
    rows = table_rows(path, read_lines(path), COLUMNS, InputError)
    return [Rejected(row["id"], Path(row["path"]), row["reason"]) for _, row in rows]


def nothing_left(source: Path, table: Path, what: str = "no recording can be used") -> NothingLeftError:
    """The error to raise where too many recordings of `source` were left out, as a table of `write_rejected` says.

    Args:
        what: is wrong for that reason.
    """
    reasons = Counter(one.reason for one in read_rejected(table))
    if not reasons:
        return NothingLeftError(source, "no recordings", "make it again with sld audio")
    most = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(REASONS_SHOWN))
    more = ", …" * (len(reasons) > REASONS_SHOWN)
    problem = f"{what}; {sum(reasons.values())} are left out: {most}{more}"
    return NothingLeftError(source, problem, f"{table} tells why of each")
