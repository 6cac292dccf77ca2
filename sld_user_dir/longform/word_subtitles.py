"""Words of a recording as subtitles: SubRip with a cue for each word, WebVTT with time stamps between the words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Optional, Protocol, Sequence

from sld_user_dir.longform.subtitles import clock, cue_times, escaped, srt
from sld_user_dir.manifests.ctm import TimedWord


class CaptionOfWords(Protocol):
    """Words that are shown together."""

    @property
    def words(self) -> Optional[Sequence[TimedWord]]:
        """With their times, in seconds; None or none: nothing is shown."""


@dataclass(frozen=True)
class _Cue:
    start_seconds: float
    end_seconds: float
    text: str = ""


def word_srt(captions: Iterable[CaptionOfWords]) -> str:
    """A SubRip file; the format knows no times within a cue, so each word is one."""
    return srt(
        _Cue(one.start_seconds, one.end_seconds, one.word) for caption in captions for one in caption.words or ()
    )


def word_vtt(captions: Iterable[CaptionOfWords]) -> str:
    """A WebVTT file whose cues last from their first word to their last: `one <00:00:00.540>two`."""
    cues = []
    for words in (caption.words for caption in captions):
        if words:
            cue = _Cue(words[0].start_seconds, words[-1].end_seconds)
            cues.append(f"{cue_times(cue, '.')}\n{_stamped(words)}\n")
    return "\n".join(["WEBVTT\n", *cues])


def _stamped(words: Sequence[TimedWord]) -> str:
    """The words of a cue, with the time before each but the first; times within a cue must rise."""
    parts, latest = [escaped(words[0].word)], round(1000 * words[0].start_seconds)
    for one in words[1:]:
        start = round(1000 * one.start_seconds)
        rises = latest < start < round(1000 * words[-1].end_seconds)
        parts.append((f"<{clock(start, '.')}>" if rises else "") + escaped(one.word))
        latest = max(latest, start)
    return " ".join(parts)


WORD_WRITERS = {"srt": word_srt, "vtt": word_vtt}
"""Ending of a file to what makes its content."""
