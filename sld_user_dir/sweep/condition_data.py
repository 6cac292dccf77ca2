"""The data directory of a condition: the one it names, or one made of it with fewer utterances or other runs."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Optional, Sequence

from sld_user_dir.clustering.unit_sequences import deduplicate, expand
from sld_user_dir.errors import InputError
from sld_user_dir.files import atomic_path, iter_lines
from sld_user_dir.manifests.unit_manifest import Utterance, read_manifest, write_manifest
from sld_user_dir.sweep.plan_file import Condition

MANIFEST = ".tsv"


def data_directory(condition: Condition, training: Sequence[str], out: Path) -> Path:
    """The condition's data directory; where it wants other manifests, one under `out` with links to what it shares.

    Args:
        training: the files that training reads, its manifest first.

    Raises:
        InputError: fewer utterances than the condition wants, or units whose runs cannot be written out.
    """
    if condition.train_utterances is None and condition.deduplicated is None:
        return condition.data
    part = out / "data" / condition.name
    part.mkdir(parents=True, exist_ok=True)
    made = {training[0]} if condition.train_utterances is not None else set()
    if condition.deduplicated is not None:
        subsets = [f"{name}{MANIFEST}" for name in condition.test_sets]
        made |= {name for name in (*training, *subsets) if name.endswith(MANIFEST)}
    for source in condition.data.iterdir():
        target = part / source.name
        if source.name not in made and source.is_file() and not os.path.lexists(target):
            target.symlink_to(source)
    for name in sorted(made):
        limit = condition.train_utterances if name == training[0] else None
        # renamed over what is there, also over the link of an objective that trains on another manifest
        with atomic_path(part / name) as aside:
            _write(condition, condition.data / name, limit, aside)
    return part


def _write(condition: Condition, source: Path, limit: Optional[int], target: Path) -> None:
    """The manifest with the condition's runs, and of training as many utterances as it wants."""
    manifest = None if condition.deduplicated is None else read_manifest(source)
    if manifest is None or manifest.provenance.deduplicated == condition.deduplicated:
        _cut(condition, source, limit, target)
        return
    provenance = replace(manifest.provenance, deduplicated=bool(condition.deduplicated))
    if provenance.subword is not None:
        raise InputError(source, "subwords of units have no runs", "name a manifest of the units themselves")
    if not condition.deduplicated and "durations" not in manifest.columns:
        raise InputError(source, "no column durations, of which runs are written out", "make it with sld units")
    convert = _collapsed if condition.deduplicated else _written_out
    written = write_manifest(target, map(convert, islice(manifest, limit)), provenance, manifest.header)
    _check_size(condition, source, written, limit)


def _cut(condition: Condition, source: Path, limit: Optional[int], target: Path) -> None:
    """The first utterances, as they stand."""
    lines = iter_lines(source)
    with target.open("w", encoding="utf-8") as stream:
        for line in lines:
            stream.write(line + "\n")
            if not line.startswith("#"):
                break  # at the line of column names
        written = 0
        for line in islice(lines, limit):
            stream.write(line + "\n")
            written += 1
    _check_size(condition, source, written, limit)


def _check_size(condition: Condition, source: Path, size: int, limit: Optional[int]) -> None:
    if limit is not None and size < limit:
        problem = f"{size} utterances, and condition {condition.name} wants {limit}"
        raise InputError(source, problem, "lower train_utterances")


def _collapsed(one: Utterance) -> Utterance:
    units, durations = deduplicate(one.units)
    return replace(one, units=units, durations=durations)


def _written_out(one: Utterance) -> Utterance:
    assert one.durations is not None
    return replace(one, units=expand(one.units, one.durations), durations=None)
