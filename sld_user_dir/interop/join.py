"""Units, transcripts and audio brought together by id, never by line order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Iterable, Optional

from sld_user_dir.errors import line_of
from sld_user_dir.interop.records import AUDIO_SUFFIXES, InteropError, UnitRecord
from sld_user_dir.manifests.audio_manifest import Recording, numbered_recordings
from sld_user_dir.manifests.keyed_lines import keyed_lines


@dataclass(frozen=True)
class JoinRow:
    """What another file knows of an utterance."""

    id: str
    where: str
    text: Optional[str] = None
    fields: dict[str, str] = field(default_factory=dict)
    seconds: Optional[float] = None


class JoinTable:
    """Rows of a file by id; found by the whole id, or by the last part of its path where that is unique."""

    def __init__(self, path: Path, rows: Iterable[JoinRow], repair: bool = False):
        self.path = path
        self.rows: dict[str, JoinRow] = {}
        for row in rows:
            if row.id in self.rows:
                raise InteropError(row.where, f"{row.id!r} again, first at {self.rows[row.id].where}", "remove one")
            self.rows[row.id] = row
        self._short: dict[str, list[JoinRow]] = {}
        for row in self.rows.values():
            for name in _short_names(row.id, repair):
                self._short.setdefault(name, []).append(row)

    def find(self, record: UnitRecord) -> Optional[JoinRow]:
        """The row of a record.

        Raises:
            InteropError: several rows could be meant.
        """
        if record.id in self.rows:
            return self.rows[record.id]
        found = self._short.get(record.id.rpartition("/")[2], [])
        if len(found) > 1:
            raise InteropError(
                record.where,
                f"{record.id!r} could be {found[0].id!r} ({found[0].where}) or {found[1].id!r} ({found[1].where})",
                "give the units the whole ids",
            )
        return found[0] if found else None


def _short_names(name: str, repair: bool) -> set[str]:
    base = name.rpartition("/")[2]
    # GSLM's quantizer strips the letters of the suffix, `ball.flac` -> `b`
    return {base, *((base + s).rstrip(s) for s in AUDIO_SUFFIXES if repair)}


def text_table(path: Path, repair: bool = False) -> JoinTable:
    """Transcripts: `id<TAB>text`, or Kaldi's `id text`.

    Raises:
        InteropError: a line without an id and a transcript, an id twice.
    """

    def rows() -> Iterable[JoinRow]:
        for where, name, text in keyed_lines(path, InteropError):
            if not text:
                raise InteropError(where, f"no id and transcript in {name[:40]!r}", "write them as: id<TAB>text")
            yield JoinRow(name, where, text)

    return JoinTable(path, rows(), repair)


def audio_table(path: Path, repair: bool = False, sample_rate: int = 16_000) -> JoinTable:
    """An audio manifest, ours or fairseq's: transcripts, speakers, paths and lengths.

    Args:
        repair: names can have lost the trailing letters of their suffix.
        sample_rate: of the recordings that a fairseq manifest lists, which does not tell it.

    Raises:
        InputError: the manifest cannot be used, or names an id twice.
    """
    recordings = numbered_recordings(path, sample_rate)
    return JoinTable(path, (_audio_row(r, line_of(path, number)) for number, r in recordings), repair)


def _audio_row(recording: Recording, where: str) -> JoinRow:
    fields = {"path": str(recording.path), "n_samples": str(recording.n_samples or "")}
    fields.update({"speaker": recording.speaker} if recording.speaker else {}, **recording.fields)
    return JoinRow(recording.id, where, recording.text.strip() or None, fields, recording.seconds)


@dataclass(frozen=True)
class Joined:
    """Records with their transcripts, and what was left out because one side lacks it."""

    records: list[UnitRecord]
    without_units: list[str]
    without_row: list[str]


def join(
    records: list[UnitRecord], table: JoinTable, allow_missing: bool = False, rate_hz: Optional[float] = None
) -> Joined:
    """Give each record the id, transcript and columns of its row.

    Args:
        allow_missing: leave out what only one side has, instead of refusing.
        rate_hz: units (or frames of durations) a second, to check counts against the audio's length.

    Raises:
        InteropError: names both files: an utterance that only one has, two for one row, an impossible count.
    """
    taken: dict[str, UnitRecord] = {}
    joined: list[UnitRecord] = []
    lost: list[UnitRecord] = []
    for record in records:
        row = table.find(record)
        if row is None:
            lost.append(record)
            continue
        if row.id in taken:
            raise InteropError(
                record.where,
                f"{record.id!r} belongs to {row.id!r} ({row.where}), as do the units at {taken[row.id].where}",
                "remove one",
            )
        taken[row.id] = record
        check_length(record, row, rate_hz)
        text = row.text if row.text is not None else record.text
        joined.append(replace(record, id=row.id, text=text, fields={**record.fields, **row.fields}))
    unused = [row for row in table.rows.values() if row.id not in taken]
    if lost and not allow_missing:
        raise InteropError(
            lost[0].where,
            f"{lost[0].id!r} is not in {table.path} ({len(lost)} such)",
            "add it, or leave out what only one file has with --allow-missing",
        )
    if unused and not allow_missing:
        file = records[0].where.rpartition(":")[0] if records else "the units"
        raise InteropError(
            unused[0].where,
            f"{unused[0].id!r} has no units in {file} ({len(unused)} such)",
            "make them, or leave out what only one file has with --allow-missing",
        )
    return Joined(joined, [row.id for row in unused], [r.id for r in lost])


def check_length(record: UnitRecord, row: JoinRow, rate_hz: Optional[float]) -> None:
    """Units cannot outlast their recording, nor end well before it.

    Encoders lose up to two frames at the edges, and fairseq's reader as many at each 100 s.

    Raises:
        InteropError: names both places.
    """
    if not rate_hz or row.seconds is None:
        return
    n = int(record.durations.sum()) if record.durations is not None else len(record.units)
    expected = row.seconds * rate_hz
    least = expected - 2 - 2 * (row.seconds // 100)
    collapsed = record.durations is None and not bool((record.units[1:] == record.units[:-1]).any())
    if n > expected + 1 or (n < least and not collapsed):
        raise InteropError(
            record.where,
            f"{n} frames of units, but {row.id!r} at {row.where} has {row.seconds:.2f} s, which make {expected:.0f} "
            f"at {rate_hz:g} Hz",
            "are these units of another recording or another rate?",
        )
