"""Which format a file is in."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any, Optional

from sld_user_dir.files import iter_lines
from sld_user_dir.interop.records import InteropError
from sld_user_dir.interop.unit_format import UnitFormat, unit_formats

HEAD_LINES = 20
"""A format is told by so many lines that are not blank."""


def _no_units(path: Path, *_: Any) -> Any:
    raise InteropError(path, "dumped features hold frames and no units", "they are only read, with a k-means file")


FEATURES = UnitFormat(
    name="features",
    what="HuBERT simple_kmeans features `.npy` and `.len`, by a k-means file",
    suffix=".npy",
    read=_no_units,
    write=_no_units,
    looks_like=lambda path, lines: len(lines) * (path.suffix == ".npy"),
    holds=frozenset({"path", "n_samples"}),
    deduplicated=False,
)
"""Not among the registered ones: nothing can write it."""


def detect(path: Path) -> UnitFormat:
    """The format of a file, from its name and first lines.

    It is the one that most lines are of, at least half: a line that is not is named when the file is read.

    Raises:
        InteropError: none fits, or more than one; says what to name.
    """
    if path.suffix == ".npy":
        return FEATURES
    said = (line for line in iter_lines(path, InteropError) if line.strip())  # a blank line tells nothing
    lines = list(islice(said, HEAD_LINES))
    if lines and lines[0].startswith("# format:"):
        raise InteropError(path, "a manifest of this program already", "nothing to import")
    known = unit_formats()
    fitting = {f.name: f.looks_like(path, lines) for f in known.values()}
    most = max(1, *fitting.values())
    found = [f for f in known.values() if fitting[f.name] == most and 2 * most >= len(lines)]
    if len(found) == 1:
        return found[0]
    start = f"it begins {lines[0][:60]!r}" if lines else "it is empty"
    names = ", ".join(f.name for f in found or known.values())
    what = f"could be {names}" if found else "is in no format that is known"
    raise InteropError(path, f"{what} ({start})", f"name its format by --format, one of: {names}")


def format_named(name: Optional[str], path: Path) -> UnitFormat:
    """The format of this name, or the one that the file is in.

    Raises:
        InteropError: no such name.
    """
    if name is None:
        return detect(path)
    known = {**unit_formats(), FEATURES.name: FEATURES}
    if name not in known:
        raise InteropError(f"--format {name}", "no such format", f"choose one of: {', '.join(known)}")
    return known[name]
