"""Subtitles by the grammar of their formats, and lists of recordings of files and folders."""

import re
from dataclasses import dataclass

from sld_user_dir.longform.subtitles import srt, vtt


@dataclass
class Shown:
    start_seconds: float
    end_seconds: float
    text: str


CAPTIONS = [
    Shown(0.0, 1.2345, "one two"),
    Shown(1.5, 1.5, "a --> b & <c>"),
    Shown(2.0, 3.0, " "),
    Shown(3599.9996, 36000.25, "three\n\nfour"),
]


def test_subrip():
    cue = re.compile(r"(\d+)\n(\d\d:\d\d:\d\d,\d{3}) --> (\d\d:\d\d:\d\d,\d{3})\n([^\n]+)\n")
    text = srt(CAPTIONS)
    cues = cue.findall(text)
    assert "\n".join("{}\n{} --> {}\n{}\n".format(*one) for one in cues) == text
    assert cues == [
        ("1", "00:00:00,000", "00:00:01,234", "one two"),
        ("2", "00:00:01,500", "00:00:01,501", "a -> b & <c>"),
        ("3", "01:00:00,000", "10:00:00,250", "three four"),
    ]
    assert srt([]) == ""


def test_webvtt():
    cue = re.compile(r"\n(\d\d:\d\d:\d\d\.\d{3}) --> (\d\d:\d\d:\d\d\.\d{3})\n([^\n]+)\n")
    text = vtt(CAPTIONS)
    cues = cue.findall(text)
    assert "WEBVTT\n" + "".join("\n{} --> {}\n{}\n".format(*one) for one in cues) == text
    assert [one[2] for one in cues] == ["one two", "a --&gt; b &amp; &lt;c&gt;", "three four"]
    assert vtt([]) == "WEBVTT\n"
