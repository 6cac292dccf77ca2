"""Tables: HuBERT's `.km` beside fairseq's audio manifest, and fairseq's S2UT manifest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator, Optional

from sld_user_dir.interop.records import (
    InteropError,
    UnitFile,
    UnitRecord,
    audio_id,
    beside,
    joined,
    parse_units,
    read_lines,
    write_lines,
)
from sld_user_dir.interop.unit_format import NUMBERS, UnitFormat, every_line, register_format
from sld_user_dir.manifests.audio_manifest import Recording, read_audio_manifest, write_fairseq_tsv

S2UT_COLUMNS = ("id", "src_audio", "src_n_frames", "tgt_audio", "tgt_n_frames")
HUBERT_RATE_HZ = 16_000


# -- HuBERT simple_kmeans: X.km, parallel to X.tsv ----------------------------------
def read_km(path: Path) -> UnitFile:
    """`X.km`, frame by frame and line by line parallel to `X.tsv` (and `X.wrd` or `X.ltr`).

    K is the size of `dict.km.txt` where that lies beside.

    Raises:
        InteropError: no `.tsv`, or another number of lines in it.
    """
    path = path if path.suffix == ".km" else beside(path, ".km")
    tsv = beside(path, ".tsv")
    if not tsv.exists():
        raise InteropError(
            path,
            f"no {tsv.name} beside, which names its lines",
            "join shards in the order of their ranks (cat X_0_2.km X_1_2.km > X.km) and put fairseq's manifest there",
        )
    recordings = read_audio_manifest(tsv, HUBERT_RATE_HZ)
    lines = list(read_lines(path))
    if len(lines) != len(recordings):
        raise InteropError(
            path, f"{len(lines)} lines, but {tsv} lists {len(recordings)} recordings", "make them parallel"
        )
    records = [_km_record(r, line, where) for r, (where, line) in zip(recordings, lines)]
    root = next(read_lines(tsv))[1]
    return UnitFile(records, _dict_size(path.with_name("dict.km.txt")), header={"audio_root": root})


def _km_record(recording: Recording, line: str, where: str) -> UnitRecord:
    fields = {"path": str(recording.path), "n_samples": str(recording.n_samples or "")}
    text = recording.text if recording.text.strip() else None
    return UnitRecord(recording.id, parse_units(line, where), None, text, fields, where)


def _dict_size(path: Path) -> Optional[int]:
    return sum(1 for _ in read_lines(path)) if path.exists() else None


def write_km(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    """`X.km`, `X.tsv`, `dict.km.txt`, and `X.wrd` and `X.ltr` where there are transcripts."""
    root = Path(str(header.get("audio_root") or _root(records)))
    recordings = [_recording(r, root) for r in records]
    path = beside(path, ".km")
    files = [write_lines(path, (joined(r.units) for r in records))]
    write_fairseq_tsv(beside(path, ".tsv"), recordings, root)
    files.append(beside(path, ".tsv"))
    for suffix in (".wrd", ".ltr"):
        if all(r.text for r in recordings):
            files.append(beside(path, suffix))
        else:
            beside(path, suffix).unlink()
    if "num_units" in header:
        symbols = (f"{k} 1" for k in range(int(str(header["num_units"]))))
        files.append(write_lines(path.with_name("dict.km.txt"), symbols))
    return files


def _root(records: list[UnitRecord]) -> str:
    """The folder from which ids are the paths of the recordings, so that they come back as they are; else `/`."""
    first = records[0]
    stem = audio_id(first.fields.get("path", ""))
    return stem[: -len(first.id)] or "/" if stem.endswith("/" + first.id) else "/"


def _recording(record: UnitRecord, root: Path) -> Recording:
    audio, samples = record.fields.get("path", record.fields.get("audio")), record.fields.get("n_samples")
    if not audio or not samples:
        raise InteropError(
            record.where,
            f"the format km wants the columns path and n_samples, which {record.id!r} lacks",
            "join them from the audio manifest by --audio",
        )
    return Recording(record.id, root / audio, int(samples), HUBERT_RATE_HZ, record.text or "")


# -- fairseq S2UT ---------------------------------------------------------------------
def read_s2ut(path: Path) -> UnitFile:
    """Columns `id src_audio src_n_frames tgt_audio tgt_n_frames`; `tgt_audio` holds the units.

    Raises:
        InteropError: `tgt_n_frames` is not the number of units.
    """
    lines = read_lines(path)
    columns = next(lines, ("", ""))[1].split("\t")
    records = [_s2ut_record(where, line.split("\t"), columns) for where, line in lines]
    return UnitFile(records)


def _s2ut_record(where: str, values: list[str], columns: list[str]) -> UnitRecord:
    if len(values) != len(columns):
        raise InteropError(where, f"{len(values)} columns, expected {len(columns)}", "separate them by one tab")
    row = dict(zip(columns, values))
    units = parse_units(row.pop("tgt_audio"), where)
    stated = row.pop("tgt_n_frames")
    if stated != str(len(units)):
        raise InteropError(where, f"tgt_n_frames is {stated}, tgt_audio has {len(units)} units", "make the line again")
    name, text = row.pop("id"), row.pop("tgt_text", None)
    return UnitRecord(name, units, None, text or None, row, where)


def write_s2ut(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    """The source is the recording itself; its length in samples stands for frames where none are known."""
    return [write_lines(path, _s2ut_lines(records))]


def _s2ut_lines(records: list[UnitRecord]) -> Iterator[str]:
    yield "\t".join(S2UT_COLUMNS)
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
        yield "\t".join([r.id, source, frames, joined(r.units), str(len(r.units))])


def _is_km(path: Path, lines: list[str]) -> bool:
    if path.suffix == ".tsv" and len(lines) > 1 and "\t" not in lines[0]:
        return bool(re.fullmatch(r"[^\t]+\t\d+", lines[1])) and path.with_suffix(".km").exists()
    return path.suffix == ".km" and every_line(NUMBERS)(path, lines)


register_format(
    UnitFormat(
        name="km",
        what="HuBERT simple_kmeans `.km` beside fairseq's `.tsv`",
        suffix=".km",
        read=read_km,
        write=write_km,
        looks_like=_is_km,
        holds=frozenset({"text", "path", "n_samples"}),
        deduplicated=False,
    )
)
register_format(
    UnitFormat(
        name="s2ut",
        what="fairseq S2UT manifest",
        suffix=".tsv",
        read=read_s2ut,
        write=write_s2ut,
        looks_like=lambda path, lines: lines[:1] == ["\t".join(S2UT_COLUMNS)],
        holds=frozenset({"src_audio", "src_n_frames"}),
    )
)
