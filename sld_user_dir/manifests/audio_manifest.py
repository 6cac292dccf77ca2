"""The audio manifest: which recordings, where, how long, and what is said in them.

Our own form is a UTF-8 TSV table, paths relative to the root::

    # format: "audio-manifest/1"
    # root: "/corpora/LibriSpeech"
    id<TAB>path<TAB>n_samples<TAB>sample_rate<TAB>text<TAB>speaker<TAB>speed[<TAB>warp][<TAB>…kept]

`warp` is there where a vocal tract is to be warped. A relative root counts from the manifest's
folder. fairseq's form is read and written too: the root on the first line, then
`path<TAB>samples`, with the transcripts in `.wrd` or `.ltr` beside.
"""

from __future__ import annotations

import math
import os
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Iterable, Optional, Sequence, TypeVar

from sld_user_dir.arrays import PathLike
from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import atomic_path, printable, read_lines, unwritable, without_returns
from sld_user_dir.manifests.fairseq_listing import ListedFile, read_listing, write_listing
from sld_user_dir.manifests.header import check_format, header_lines, read_header
from sld_user_dir.manifests.named_columns import cell_problem, table_line, table_rows
from sld_user_dir.manifests.recording_numbers import speed_problem, taken_count, taken_factor, warp_problem

FORMAT = "audio-manifest/1"
COLUMNS = ("id", "path", "n_samples", "sample_rate", "text", "speaker", "speed")
WARP = "warp"
REQUIRED = ("id", "path")
Item = TypeVar("Item")


class AudioManifestError(InputError):
    """An audio manifest that cannot be used."""


@dataclass(frozen=True)
class Recording:
    """One row. `n_samples` and `sample_rate` are the file's own, before any change of speed."""

    id: str
    path: Path
    n_samples: Optional[int] = None
    sample_rate: Optional[int] = None
    text: str = ""
    speaker: str = ""
    speed: float = 1.0
    fields: dict[str, str] = field(default_factory=dict)
    """further columns, carried into the unit manifest"""
    warp: float = 1.0
    """factor by which the encoder warps frequencies; above 1 as of a shorter vocal tract"""

    @property
    def seconds(self) -> Optional[float]:
        """Duration as it will be heard, or None where the manifest does not tell."""
        if self.n_samples is None or not self.sample_rate:
            return None
        return self.n_samples / self.sample_rate / self.speed


def with_speeds(recordings: Iterable[Recording], speeds: Iterable[float]) -> list[Recording]:
    """Each recording at each speed; changed ones are named as Kaldi does: `sp0.9-ID`.

    The speaker gets the prefix too: at another speed it is another voice.

    Raises:
        InputError: a speed that is not above 0.
    """
    heard, speeds = list(recordings), list(speeds)
    for speed in speeds:
        problem = speed_problem(speed)
        if problem:
            raise InputError(f"--speeds {speed:g}", problem, "give, for example, 0.9 1.0 1.1")
    return [replace(_marked(one, "sp", speed), speed=speed) for speed in speeds for one in heard]


def with_warps(recordings: Iterable[Recording], warps: Iterable[float]) -> list[Recording]:
    """Each recording with its speaker's vocal tract warped by each factor; changed ones are named `vtlp0.9-ID`.

    Raises:
        InputError: a factor out of the range in which Kaldi's warping is one-to-one.
    """
    heard, warps = list(recordings), list(warps)
    for warp in warps:
        problem = warp_problem(warp)
        if problem:
            raise InputError(f"--warps {warp:g}", problem, "give, for example, 0.9 1.0 1.1")
    return [replace(_marked(one, "vtlp", warp), warp=warp) for warp in warps for one in heard]


def _marked(one: Recording, kind: str, factor: float) -> Recording:
    mark = "" if factor == 1.0 else f"{kind}{factor:g}-"
    return replace(one, id=mark + one.id, speaker=mark + one.speaker if one.speaker else "")


def draw_share(items: Sequence[Item], share: float, seed: int = 0) -> list[Item]:
    """A random share of recordings or rows, rounded up, in their order; the same for the same number of them.

    Raises:
        InputError: the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise InputError(f"--share {share:g}", "a share is above 0 and at most 1", "give, for example, 0.1")
    kept = random.Random(seed).sample(range(len(items)), math.ceil(share * len(items)))
    return [items[i] for i in sorted(kept)]


def read_audio_manifest(path: PathLike, sample_rate: Optional[int] = None) -> list[Recording]:
    """Read either form; paths come back absolute.

    Args:
        sample_rate: of the files that a fairseq manifest lists, which does not tell it.

    Raises:
        AudioManifestError: names file, line and remedy; or it lists no recording.
    """
    return [recording for _, recording in numbered_recordings(path, sample_rate)]


def numbered_recordings(path: PathLike, sample_rate: Optional[int] = None) -> list[tuple[int, Recording]]:
    """The recordings of `read_audio_manifest`, each with the number of its line.

    Raises:
        AudioManifestError: names file, line and remedy.
    """
    path = Path(path)
    lines = read_lines(path, AudioManifestError)
    if not lines:
        raise AudioManifestError(path, "empty", "make one with sld audio")
    own = lines[0].startswith("#") or "\t" in lines[0]
    recordings = _read_table(path, lines) if own else _read_fairseq(path, lines, sample_rate)
    if not recordings:
        raise AudioManifestError(path, "no recordings", "make it again with sld audio")
    _check_ids(path, recordings)
    return recordings


def write_audio_manifest(
    path: PathLike, recordings: Iterable[Recording], root: PathLike, extra: Optional[list[str]] = None
) -> None:
    """Write our own form atomically; files outside `root` keep their absolute paths.

    Args:
        extra: further columns; by default all that the recordings have, sorted.

    Raises:
        AudioManifestError: an id twice, or a value that the table cannot hold.
    """
    path, root = Path(path), Path(root)
    rows = list(recordings)
    refuse_same_ids(rows)
    if unwritable(str(root)):
        raise AudioManifestError(printable(str(root)), f"the folder's name {unwritable(str(root))}", "rename it")
    if extra is None:
        extra = sorted({name for row in rows for name in row.fields})
    with atomic_path(path) as aside, open(aside, "w", encoding="utf-8", newline="\n") as out:
        own = [*COLUMNS, *([WARP] if any(row.warp != 1.0 for row in rows) else [])]
        columns = "\t".join([*own, *extra])
        out.writelines(line + "\n" for line in (*header_lines({"format": FORMAT, "root": str(root)}), columns))
        absolute = _absolute_root(path, root)
        for row in rows:
            out.write(_format_row(row, absolute, own, extra) + "\n")


def write_fairseq_tsv(path: PathLike, recordings: Iterable[Recording], root: PathLike) -> None:
    """Write fairseq's form: `X.tsv`, and `X.wrd` and `X.ltr` line by line beside it.

    Raises:
        AudioManifestError: a changed speed or voice, an unknown length, a path or a text, which that form cannot hold.
    """
    path, root = Path(path), Path(root)
    files = []
    for row in recordings:
        if row.speed != 1.0 or row.warp != 1.0 or row.n_samples is None:
            raise AudioManifestError(
                row.id, "fairseq's manifest holds no speed, no warp, and wants a length", "write our own form"
            )
        files.append(ListedFile(printable(row.id), _relative(row.path, root), row.n_samples, row.text))
    write_listing(path, str(root), files, AudioManifestError)


def _absolute_root(manifest: Path, root: PathLike) -> Path:
    return Path(os.path.abspath(manifest.parent / root))


def _relative(path: Path, root: Path) -> str:
    try:
        return str(path.relative_to(root))
    except ValueError:
        return str(path)


def _format_row(row: Recording, root: Path, own: list[str], extra: list[str]) -> str:
    values = [
        row.id,
        _relative(row.path, root),
        "" if row.n_samples is None else str(row.n_samples),
        "" if row.sample_rate is None else str(row.sample_rate),
        row.text,
        row.speaker,
        f"{row.speed:g}",
        *([f"{row.warp:g}"] if WARP in own else []),
        *(row.fields.get(name, "") for name in extra),
    ]
    return table_line(values, [*own, *extra], printable(row.id), AudioManifestError)


def _read_table(path: Path, lines: list[str]) -> list[tuple[int, Recording]]:
    header, n_header = read_header(path, lines, AudioManifestError)
    if "format" in header:
        check_format(path, header, FORMAT, "an audio manifest", AudioManifestError, "make one with sld audio")
    root = _absolute_root(path, str(header.get("root", ".")))
    rows = table_rows(path, lines, REQUIRED, AudioManifestError, n_header)
    return [(number, recording_of_row(line_of(path, number), row, root)) for number, row in rows]


def recording_of_row(where: str, row: dict[str, str], root: Path) -> Recording:
    """The recording of a row of named columns.

    Raises:
        AudioManifestError: at `where`, a number that is none.
    """
    return Recording(
        id=row.pop("id"),
        path=root / row.pop("path"),
        n_samples=taken_count(row, "n_samples", where, AudioManifestError),
        sample_rate=taken_count(row, "sample_rate", where, AudioManifestError, least=1),
        text=without_returns(row.pop("text", "")),
        speaker=without_returns(row.pop("speaker", "")),
        speed=taken_factor(row, "speed", where, AudioManifestError, speed_problem),
        warp=taken_factor(row, WARP, where, AudioManifestError, warp_problem),
        fields={name: without_returns(value) for name, value in row.items()},
    )


def _read_fairseq(path: Path, lines: list[str], sample_rate: Optional[int]) -> list[tuple[int, Recording]]:
    root = Path(lines[0])
    files = read_listing(path, lines, AudioManifestError)
    return [
        (number, Recording(id_of_path(f.name, f.where), root / f.name, f.n_samples, sample_rate, f.text))
        for number, f in enumerate(files, 2)
    ]


def id_of_path(name: str, where: str) -> str:
    """The id of a recording that has none of its own: its path without the ending.

    Raises:
        AudioManifestError: the path names no file.
    """
    try:
        return str(Path(name).with_suffix(""))
    except ValueError:
        raise AudioManifestError(where, f"the path {name!r} names no file", "name the recording") from None


def refuse_same_ids(recordings: Iterable[Recording]) -> None:
    """Refuse two recordings of one id.

    Raises:
        AudioManifestError: names both files.
    """
    seen: dict[str, Path] = {}
    for one in recordings:
        if one.id in seen:
            problem = f"its id {printable(one.id)!r} is also that of {printable(str(seen[one.id]))}"
            raise AudioManifestError(printable(str(one.path)), problem, "remove or rename one of the two")
        seen[one.id] = one.path


def _check_ids(path: Path, recordings: list[tuple[int, Recording]]) -> None:
    seen: dict[str, int] = {}
    for number, row in recordings:
        if not row.id or row.id in seen:
            what = f"duplicate id {row.id!r}, first on line {seen[row.id]}" if row.id else "empty id"
            raise AudioManifestError(line_of(path, number), what, "give every recording an id of its own")
        problem = cell_problem(row.id, first=True)
        if problem:
            raise AudioManifestError(line_of(path, number), f"the id {row.id!r} {problem}", "rename it")
        seen[row.id] = number
