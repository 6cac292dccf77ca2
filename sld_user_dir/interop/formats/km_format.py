"""HuBERT simple_kmeans: `X.km`, parallel to fairseq's audio manifest `X.tsv`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from sld_user_dir.files import iter_lines, whole_number
from sld_user_dir.interop.records import (
    InteropError,
    UnitFile,
    UnitRecord,
    audio_id,
    beside,
    numbered_lines,
    parse_units,
    write_lines,
)
from sld_user_dir.interop.unit_format import UnitFormat, lines_where, looks_like_units, register_format
from sld_user_dir.manifests.audio_manifest import Recording, read_audio_manifest, write_fairseq_tsv
from sld_user_dir.manifests.unit_text import format_numbers

HUBERT_RATE_HZ = 16_000


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
    lines = list(numbered_lines(path))
    if len(lines) != len(recordings):
        raise InteropError(
            path, f"{len(lines)} lines, but {tsv} lists {len(recordings)} recordings", "make them parallel"
        )
    records = [_km_record(r, line, where) for r, (where, line) in zip(recordings, lines)]
    root = next(iter_lines(tsv))
    return UnitFile(records, _dict_size(path.with_name("dict.km.txt")), header={"audio_root": root})


def _km_record(recording: Recording, line: str, where: str) -> UnitRecord:
    fields = {"path": str(recording.path), "n_samples": str(recording.n_samples or "")}
    text = recording.text if recording.text.strip() else None
    return UnitRecord(recording.id, parse_units(line, where), None, text, fields, where)


def _dict_size(path: Path) -> Optional[int]:
    return sum(1 for _ in numbered_lines(path)) if path.exists() else None


def write_km(path: Path, records: list[UnitRecord], header: dict[str, object]) -> list[Path]:
    """`X.km`, `X.tsv`, `dict.km.txt`, and `X.wrd` and `X.ltr` where there are transcripts."""
    root = Path(str(header.get("audio_root") or _root(records)))
    recordings = [_recording(r, root) for r in records]
    path = beside(path, ".km")
    files = [write_lines(path, (format_numbers(r.units) for r in records))]
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


def _is_km(path: Path, lines: list[str]) -> int:
    if path.suffix == ".tsv" and len(lines) > 1 and "\t" not in lines[0] and path.with_suffix(".km").exists():
        return 1 + lines_where(_is_listed)(path, lines)
    return lines_where(looks_like_units)(path, lines) if path.suffix == ".km" else 0


def _is_listed(line: str) -> bool:
    name, _, samples = line.partition("\t")
    return bool(name) and whole_number(samples) is not None


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
        audio_suffix=".tsv",
    )
)
