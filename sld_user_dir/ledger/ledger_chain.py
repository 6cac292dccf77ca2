"""The ledgers of a folder as one chain, from recordings to scored hypotheses."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, Optional

from sld_user_dir.files import sha256_of
from sld_user_dir.ledger.ledger_entry import LedgerEntry, LedgerError
from sld_user_dir.ledger.ledger_file import SUFFIX, check_flow, ledger_path, read_ledger


@dataclass(frozen=True)
class Link:
    """A ledger, its place in the chain, and what is wrong with it."""

    path: Path
    entry: LedgerEntry
    depth: int
    problems: list[str] = field(default_factory=list)


def read_chain(folder: Path) -> list[Link]:
    """All ledgers of a folder, and those of the stages before them wherever they lie, in the order of the stages.

    Raises:
        LedgerError: there is none, or one that cannot be read.
    """
    if not folder.is_dir():
        problem = "a file, not a folder" if folder.exists() else "no such folder"
        raise LedgerError(folder, problem, "name one in which stages of sld wrote")
    found: dict[Path, LedgerEntry] = {}
    waiting = sorted(Path(os.path.abspath(path)) for path in folder.rglob(f"*{SUFFIX}"))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = read_ledger(path)
            waiting += _before(found[path])
    if not found:
        raise LedgerError(folder, "no ledger of a stage", f"stages of sld write them, FILE{SUFFIX}, from now on")
    hashes: dict[Path, Optional[str]] = {}
    links = [Link(path, entry, _depth(path, found), _problems(entry, hashes)) for path, entry in found.items()]
    return sorted(links, key=lambda link: (link.depth, link.path))


def _before(entry: LedgerEntry) -> Iterator[Path]:
    return (ledger_path(file) for flow in entry.flows for file in flow.files if ledger_path(file).exists())


def _depth(path: Path, found: dict[Path, LedgerEntry], below: tuple[Path, ...] = ()) -> int:
    """How many stages come before; a circle, which only a hand can make, counts as none."""
    before = [one for one in _before(found[path]) if one in found and one not in below]
    return 1 + max((_depth(one, found, (*below, path)) for one in before), default=-1)


def _problems(entry: LedgerEntry, hashes: dict[Path, Optional[str]]) -> list[str]:
    problems = entry.problems()
    for flow in entry.flows:
        try:
            check_flow(flow)
        except LedgerError as error:
            problems.append(str(error))
    for path, counted in entry.hashes.items():
        if path not in hashes:
            hashes[path] = sha256_of(path) if path.is_file() else None  # intermediate files may be gone
        if not (hashes[path] or counted).startswith(counted):
            problems.append(f"{entry.stage}: {path} is another file than the one that was counted")
    return problems
