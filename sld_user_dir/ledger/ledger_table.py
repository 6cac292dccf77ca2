"""A chain of ledgers as text, and as JSON values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Mapping, Sequence

from sld_user_dir.ledger.ledger_chain import Link
from sld_user_dir.ledger.ledger_entry import Flow, as_json, in_order


def format_chain(links: Sequence[Link], folder: Path) -> str:
    """A paragraph a stage: what went in, what was lost or added and why, what came out."""
    parts = [_format_link(link, folder) for link in links]
    wrong = sum(len(link.problems) for link in links)
    stages = f"{len(links)} stage" + "s" * (len(links) != 1)
    end = f"{wrong} mismatch" + "es" * (wrong != 1) if wrong else "every loss has its reason"
    return "\n\n".join([*parts, f"{stages}; {end}"])


def chain_json(links: Sequence[Link], folder: Path) -> list[dict[str, Any]]:
    """The same for programs; paths from `folder`."""
    return [
        {
            "stage": link.entry.stage,
            "ledger": os.path.relpath(link.path, folder),
            "out": None if link.entry.out is None else os.path.relpath(link.entry.out, folder),
            "in": [
                {
                    "files": [os.path.relpath(path, folder) for path in flow.files],
                    "counts": flow.counts,
                    "gained": as_json(flow.gained),
                    "lost": as_json(flow.lost),
                }
                for flow in link.entry.flows
            ],
            "counts": link.entry.counts,
            "problems": link.problems,
        }
        for link in links
    ]


def _format_link(link: Link, folder: Path) -> str:
    out = link.entry.out or link.path
    lines = [f"{link.entry.stage}: {os.path.relpath(out, folder)}"]
    for flow in link.entry.flows:
        lines += _format_flow(flow, folder)
    lines.append(f"  out   {_numbers(link.entry.counts)}")
    return "\n".join([*lines, *(f"  WRONG {problem}" for problem in link.problems)])


def _format_flow(flow: Flow, folder: Path) -> list[str]:
    names = ", ".join(os.path.relpath(path, folder) for path in flow.files)
    lines = [f"  in    {_numbers(flow.counts)} of {names}"]
    for sign, changes in (("  more", flow.gained), ("  lost", flow.lost)):
        lines += [f"{sign}  {_numbers(one.counts)}{': ' * bool(one.counts)}{one.reason}" for one in changes]
    return lines


def _numbers(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[name]:,} {name}" for name in in_order(counts))
