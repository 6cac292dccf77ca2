"""Transcripts in files beside recordings: `X.txt` beside `X.flac`, and LibriSpeech's `*.trans.txt` of a folder."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Iterable, NamedTuple, Sequence

from sld_user_dir.files import read_lines
from sld_user_dir.manifests.audio_manifest import AudioManifestError, Recording
from sld_user_dir.manifests.keyed_lines import keyed_lines
from sld_user_dir.pipeline.recording_list import first_names

LIBRISPEECH_ID = re.compile(r"(\d+)-\d+-\d+")
LIST_ENDING = ".trans.txt"


class UnreadableTranscriptError(AudioManifestError):
    """The system does not let the file with the transcript of one recording be read."""


class ListedTranscripts(NamedTuple):
    """What the `*.trans.txt` of a folder say."""

    texts: dict[str, str]
    repeated: list[str]
    """`FILE:LINE` of lines that are there twice"""


def add_transcript(recording: Recording) -> Recording:
    """Text from `X.txt` or `*.trans.txt` beside the file; LibriSpeech names give the speaker.

    Raises:
        UnreadableTranscriptError: `X.txt` is there and cannot be read.
        AudioManifestError: such a file is no text, or `*.trans.txt` has two transcripts of one recording.
    """
    path, speaker = recording.path, recording.speaker
    match = LIBRISPEECH_ID.fullmatch(path.stem)
    if match and not speaker:
        speaker = match.group(1)
    text = recording.text or _sidecar_text(path) or listed_transcripts(path.parent).texts.get(path.stem, "")
    return replace(recording, text=text, speaker=speaker)


@lru_cache(maxsize=64)
def listed_transcripts(folder: Path) -> ListedTranscripts:
    """LibriSpeech: lines `84-121123-0000 GO DO YOU HEAR` in the `*.trans.txt` of a folder.

    Raises:
        AudioManifestError: two transcripts of one recording, that differ.
    """
    found = ListedTranscripts({}, [])
    for path in sorted(folder.glob(f"*{LIST_ENDING}") if os.path.isdir(folder) else []):
        for where, name, text in keyed_lines(path, AudioManifestError):
            if name in found.texts:
                found.repeated.append(where)
            if found.texts.setdefault(name, text) != text:
                raise AudioManifestError(where, f"a second transcript of {name!r}", "remove one")
    return found


def transcript_remarks(files: Iterable[Path], recordings: Sequence[Recording]) -> list[str]:
    """What transcripts beside recordings are of no recording, and which are listed twice, with counts.

    Args:
        files: in the folders of the recordings, those that are not audio.
    """
    stems = {(one.path.parent, one.path.stem) for one in recordings}
    texts = sorted(path for path in files if is_transcript(path))
    lists = sorted({path.parent for path in texts if path.name.endswith(LIST_ENDING)})
    beside = [path for path in texts if not path.name.endswith(LIST_ENDING)]
    with_texts = {path.parent for path in beside if (path.parent, path.stem) in stems}
    alone = [path for path in beside if path.parent in with_texts and (path.parent, path.stem) not in stems]
    missing, repeated = [], []
    for folder in lists:
        listed = listed_transcripts(folder)
        missing += [name for name in listed.texts if (folder, name) not in stems]
        repeated += listed.repeated
    said = (
        (missing, f"transcripts in *{LIST_ENDING} are of no recording beside them: {{}}"),
        (repeated, f"lines in *{LIST_ENDING} are there twice: {{}}"),
        (alone, "files .txt belong to no recording: {}"),
    )
    return [f"{len(names)} {text.format(first_names(names))}" for names, text in said if names]


def is_transcript(path: Path) -> bool:
    """Whether a file is named like one with transcripts."""
    return path.name.endswith(".txt")


def _sidecar_text(path: Path) -> str:
    beside = path.with_suffix(".txt")
    if not os.path.isfile(beside):  # of a name that is too long `Path.is_file` raises an error
        return ""
    try:
        return " ".join(" ".join(read_lines(beside, AudioManifestError)).split())
    except AudioManifestError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise UnreadableTranscriptError(beside, error.problem, error.remedy) from error.__cause__
