"""Every format by name, and which one a file is in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Optional

from sld_user_dir.interop import json_formats, line_formats, tables
from sld_user_dir.interop.records import InteropError, UnitFile, UnitRecord, read_lines

HEAD_LINES = 20
NUMBERS = r"\d+(?: +\d+)* *"


@dataclass(frozen=True)
class Format:
    """A file format. `holds` lists what survives it besides ids and units."""

    name: str
    what: str
    suffix: str
    """of the file that is written"""
    read: Callable[[Path], UnitFile]
    write: Callable[[Path, list[UnitRecord], dict[str, Any]], list[Path]]
    looks_like: Callable[[Path, list[str]], bool]
    """whether a file of this name begins with these lines"""
    holds: frozenset[str] = frozenset()
    """of: durations, text, and names of columns"""
    deduplicated: Optional[bool] = None
    """what the format's units always are, if it says"""


def _all(pattern: str) -> Callable[[Path, list[str]], bool]:
    compiled = re.compile(pattern)
    return lambda path, lines: bool(lines) and all(compiled.fullmatch(line) for line in lines)


def _objects(wanted: Callable[[dict[str, Any]], bool], start: str = '{"') -> Callable[[Path, list[str]], bool]:
    def looks_like(path: Path, lines: list[str]) -> bool:
        if not lines or not lines[0].startswith(start):
            return False
        return wanted(json_formats.parse_object(lines[0], f"{path}:1"))

    return looks_like


def _has(*keys: str) -> Callable[[dict[str, Any]], bool]:
    return lambda item: set(keys) <= set(item)


def _is_km(path: Path, lines: list[str]) -> bool:
    if path.suffix == ".tsv" and len(lines) > 1 and "\t" not in lines[0]:
        return bool(re.fullmatch(r"[^\t]+\t\d+", lines[1])) and path.with_suffix(".km").exists()
    return path.suffix == ".km" and _all(NUMBERS)(path, lines)


def _is_textless(path: Path, lines: list[str]) -> bool:
    return _all(rf"[^\t]+\t{NUMBERS}")(path, lines) or (path.suffix == ".units" and _all(NUMBERS)(path, lines))


FORMATS = {
    f.name: f
    for f in (
        Format(
            "textless", "textless-lib `distributed_transcribe --preserve_name`", ".units", line_formats.read_textless,
            line_formats.write_textless, _is_textless, frozenset({"durations", "f0"}),
        ),
        Format(
            "km", "HuBERT simple_kmeans `.km` beside fairseq's `.tsv`", ".km", tables.read_km, tables.write_km,
            _is_km, frozenset({"text", "path", "n_samples"}), False,
        ),
        Format(
            "gslm", "GSLM quantize `name|71 71 12`", ".txt", line_formats.read_gslm, line_formats.write_gslm,
            _all(rf".*\|{NUMBERS}"),
        ),
        Format(
            "gslm-json", "GSLM and pGSLM JSON lines", ".jsonl", json_formats.read_dicts, json_formats.write_gslm_json,
            _objects(lambda item: "audio" in item and json_formats.unit_key(item) is not None),
            frozenset({"durations", "text", "audio", "speaker", "duration"}),
        ),
        Format(
            "resynthesis", "speech-resynthesis, a Python dict a line", ".txt", json_formats.read_dicts,
            json_formats.write_resynthesis, _objects(_has("audio"), "{'"),
            frozenset({"durations", "text", "audio", "speaker", "duration"}),
        ),
        Format(
            "s2ut", "fairseq S2UT manifest", ".tsv", tables.read_s2ut, tables.write_s2ut,
            lambda path, lines: lines[:1] == ["\t".join(tables.S2UT_COLUMNS)], frozenset({"src_audio", "src_n_frames"}),
        ),
        Format(
            "authors", "the paper's authors' JSON lines", ".json", json_formats.read_authors,
            json_formats.write_authors, _objects(_has("text", "idx")), frozenset({"text", "subword", "subword_idx"}),
            False,
        ),
        Format(
            "slamkit", "slamkit features", ".jsonl", json_formats.read_slamkit, json_formats.write_slamkit,
            _objects(_has("units", "file_name")), frozenset({"durations", "audio"}), True,
        ),
        Format(
            "slamkit-tokens", "slamkit tokens `<Un3><Un49>`", ".jsonl", json_formats.read_slamkit_tokens,
            json_formats.write_slamkit_tokens, _objects(_has("audio_repr", "file_name")), frozenset({"audio"}),
            True,
        ),
        Format(
            "espnet", "ESPnet asr2 `utt 12 12 34`", "", line_formats.read_espnet, line_formats.write_espnet,
            _all(rf"(?=[^ \t|]*[^ \t|\d])[^ \t|]+ {NUMBERS}"),
        ),
        Format(
            "espnet-cjk", "ESPnet asr2, one character a unit", "", line_formats.read_espnet_cjk,
            line_formats.write_espnet_cjk, _all(r"[^\s|]+ [\u4e00-\ud7ff]+"),
        ),
    )
}  # fmt: skip


def _no_units(path: Path, *_: Any) -> Any:
    raise InteropError(path, "dumped features hold frames and no units", "they are only read, with a k-means file")


FEATURES = Format(
    "features", "HuBERT simple_kmeans features `.npy` and `.len`, by a k-means file", ".npy", _no_units, _no_units,
    lambda path, lines: path.suffix == ".npy", frozenset({"path", "n_samples"}), False,
)  # fmt: skip
"""not among FORMATS: nothing can write it"""


def detect(path: Path) -> Format:
    """The format of a file, from its name and first lines.

    Raises:
        InteropError: none fits, or more than one; says what to name.
    """
    if path.suffix == ".npy":
        return FEATURES
    lines = [line for _, line in islice(read_lines(path), HEAD_LINES)]
    if lines and lines[0].startswith("# format:"):
        raise InteropError(path, "a manifest of this program already", "nothing to import")
    found = [f for f in FORMATS.values() if f.looks_like(path, lines)]
    if len(found) == 1:
        return found[0]
    start = f"it begins {lines[0][:60]!r}" if lines else "it is empty"
    names = ", ".join(f.name for f in found or FORMATS.values())
    what = f"could be {names}" if found else "is in no format that is known"
    raise InteropError(path, f"{what} ({start})", f"name its format by --format, one of: {names}")


def format_named(name: Optional[str], path: Path) -> Format:
    """The format of this name, or the one that the file is in.

    Raises:
        InteropError: no such name.
    """
    if name is None:
        return detect(path)
    if name not in (*FORMATS, FEATURES.name):
        raise InteropError(None, f"no format {name!r}", f"choose one of: {', '.join(FORMATS)}, {FEATURES.name}")
    return FEATURES if name == FEATURES.name else FORMATS[name]
