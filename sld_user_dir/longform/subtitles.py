"""Segments of a recording as subtitles: SubRip (.srt) and WebVTT (.vtt)."""

from __future__ import annotations

from typing import Iterable, Protocol


class Caption(Protocol):
    """A text and when it is shown, in seconds."""

    @property
    def start_seconds(self) -> float:
        """When it appears."""

    @property
    def end_seconds(self) -> float:
        """When it disappears."""

    @property
    def text(self) -> str:
        """What is shown; captions without text are left out."""


def srt(captions: Iterable[Caption]) -> str:
    """A SubRip file: numbered cues, `00:01:02,345 --> 00:01:04,000`."""
    shown = [one for one in captions if one.text.strip()]
    cues = [f"{i}\n{cue_times(one, ',')}\n{_line(one.text, '->')}\n" for i, one in enumerate(shown, 1)]
    return "\n".join(cues)


def vtt(captions: Iterable[Caption]) -> str:
    """A WebVTT file; `&`, `<` and `>` are escaped."""
    cues = []
    for one in captions:
        if one.text.strip():
            cues.append(f"{cue_times(one, '.')}\n{escaped(one.text)}\n")
    return "\n".join(["WEBVTT\n", *cues])


WRITERS = {"srt": srt, "vtt": vtt}
"""Ending of a file to what makes its content."""


def escaped(text: str) -> str:
    """A text as WebVTT holds it, in one line."""
    return _line(text, "-->").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(text: str, arrow: str) -> str:
    """One line, since an empty one would end the cue; in SubRip, which has no escapes, without its arrow."""
    return " ".join(text.split()).replace("-->", arrow)


def cue_times(caption: Caption, point: str) -> str:
    """The line of times above a cue, which lasts a millisecond at least."""
    start = round(caption.start_seconds * 1000)
    end = max(start + 1, round(caption.end_seconds * 1000))
    return f"{clock(start, point)} --> {clock(end, point)}"


def clock(milliseconds: int, point: str) -> str:
    """`00:01:02,345`, with this mark before the milliseconds."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"
