"""fairseq's S2UT manifest: a table whose column `tgt_audio` holds the units."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

from sld_user_dir.errors import line_of
from sld_user_dir.files import read_lines
from sld_user_dir.interop.records import InteropError, UnitFile, UnitRecord, parse_units, write_lines
from sld_user_dir.interop.unit_format import UnitFormat, register_format
from sld_user_dir.manifests.named_columns import table_rows
from sld_user_dir.manifests.unit_text import format_numbers

COLUMNS = ("id", "src_audio", "src_n_frames", "tgt_audio", "tgt_n_frames")
REQUIRED = ("id", "tgt_audio", "tgt_n_frames")


def read_s2ut(path: Path) -> UnitFile:
    """Columns `id src_audio src_n_frames tgt_audio tgt_n_frames`; further ones are kept.

    Raises:
        InteropError: a column is missing, `tgt_n_frames` is not the number of units.
    """
    rows = table_rows(path, read_lines(path, InteropError), REQUIRED, InteropError)
    return UnitFile([_record(line_of(path, number), row) for number, row in rows])


def _record(where: str, row: dict[str, str]) -> UnitRecord:
    units = parse_units(row.pop("tgt_audio"), where)
    stated = row.pop("tgt_n_frames")
    if stated != str(len(units)):
        raise InteropError(where, f"tgt_n_frames is {stated}, tgt_audio has {len(units)} units", "make the line again")
    name, text = row.pop("id"), row.pop("tgt_text", None)
    return UnitRecord(name, units, None, text or None, row, where)


def write_s2ut(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    """The source is the recording itself; its length in samples stands for frames where none are known."""
    return [write_lines(path, _lines(records))]


def _lines(records: list[UnitRecord]) -> Iterator[str]:
    yield "\t".join(COLUMNS)
    for r in records:
        source = r.fields.get("src_audio") or r.fields.get("path") or r.fields.get("audio")
        frames = r.fields.get("src_n_frames") or r.fields.get("n_samples")
        if not source or not frames:
            raise InteropError(
                r.where,
                "the format s2ut wants the columns src_audio (or path) and src_n_frames (or n_samples), which "
                f"{r.id!r} lacks",
                "join them from the audio manifest by --audio",
            )
        yield "\t".join([r.id, source, frames, format_numbers(r.units), str(len(r.units))])


def _from_columns_on(path: Path, lines: list[str]) -> int:
    """The line of column names and all below it, whatever follows."""
    names = (number for number, line in enumerate(lines) if set(REQUIRED) <= {c.strip() for c in line.split("\t")})
    return len(lines) - next(names, len(lines))


register_format(
    UnitFormat(
        name="s2ut",
        what="fairseq S2UT manifest",
        suffix=".tsv",
        read=read_s2ut,
        write=write_s2ut,
        looks_like=_from_columns_on,
        holds=frozenset({"src_audio", "src_n_frames"}),
    )
)
