"""Recordings listed in a table of the user's: `.tsv` or `.csv` with columns path and text."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

from sld_user_dir.errors import line_of
from sld_user_dir.files import read_lines
from sld_user_dir.manifests.audio_manifest import AudioManifestError, Recording, id_of_path, recording_of_row
from sld_user_dir.manifests.csv_table import csv_rows
from sld_user_dir.manifests.named_columns import cell_problem, table_rows

TABLE_COLUMNS = ("path", "text")
RENAME = "rename it: the manifests have a column of that name for themselves"
REFUSED_COLUMNS = {
    "speed": "remove or rename it; --speeds lists each recording at other speeds",
    "warp": "remove or rename it; --warps lists each recording with other vocal tracts",
    "units": RENAME,
    "durations": RENAME,
}
"""Columns that a table cannot have, and the remedy"""


def read_table(path: Path, root: Path) -> list[Recording]:
    """Recordings of a .tsv or .csv table with columns path and text (and id, speaker, n_samples, sample_rate, …).

    Quotation marks are text in a .tsv; blank lines are passed over.

    Raises:
        AudioManifestError: a required column is missing, one is there twice or among `REFUSED_COLUMNS`, a row has
            more or fewer columns, an id is there twice, a value that a manifest cannot hold, a number that is none.
    """
    rows = _csv_rows(path) if path.suffix == ".csv" else _tsv_rows(path)
    recordings: list[Recording] = []
    first_seen: dict[str, int] = {}
    for number, row in rows:
        one = _recording_of_row(row, root, line_of(path, number))
        if one.id in first_seen:
            problem = f"duplicate id {one.id!r}, first on line {first_seen[one.id]}"
            raise AudioManifestError(line_of(path, number), problem, "rename or remove one")
        first_seen[one.id] = number
        recordings.append(one)
    return recordings


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    return csv_rows(path, TABLE_COLUMNS, AudioManifestError, REFUSED_COLUMNS)


def _tsv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    lines = read_lines(path, AudioManifestError)
    return table_rows(path, lines, TABLE_COLUMNS, AudioManifestError, skip_blank=True, refused=REFUSED_COLUMNS)


def _recording_of_row(row: dict[str, str], root: Path, where: str) -> Recording:
    row["text"] = " ".join(row["text"].split())  # a quoted value may go over several lines
    for place, (column, value) in enumerate({"id": row.get("id", ""), **row}.items()):
        problem = cell_problem(value, first=place == 0)
        if problem:
            raise AudioManifestError(where, f"column {column} {problem}", "correct it")
    row["id"] = row.get("id") or id_of_path(row["path"], where)
    return recording_of_row(where, row, root)
