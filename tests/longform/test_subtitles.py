"""Subtitles by the grammar of their formats, and lists of recordings of files and folders."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from sld_user_dir.errors import InputError
from sld_user_dir.longform.recording_list import find_all
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


def test_folders_are_searched_below_and_links_followed(tmp_path):
    for name in ("b.wav", "a.FLAC", "notes.txt", "sub/c.mp3", "sub/.hidden.wav", ".cache/d.wav", "other/e.ogg"):
        path = tmp_path / "top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "f.wav").write_bytes(b"")
    (tmp_path / "top" / "linked").symlink_to(elsewhere)
    (tmp_path / "top" / "sub" / "back").symlink_to(tmp_path / "top")  # a circle
    (tmp_path / "top" / "link.wav").symlink_to(elsewhere / "f.wav")
    found = find_all([tmp_path / "top"])
    names = ["a.FLAC", "b.wav", "link.wav", "linked/f.wav", "other/e.ogg", "sub/c.mp3"]
    assert [os.fspath(one.path.relative_to(tmp_path / "top")) for one in found.recordings] == names
    assert [os.fspath(one.name) for one in found.recordings] == [name.rsplit(".", 1)[0] for name in names]
    assert found.skipped == [tmp_path / "top" / "notes.txt"] and found.n_folders == 1


def test_files_come_as_they_are_named(tmp_path):
    (tmp_path / "b.wav").write_bytes(b"")
    (tmp_path / "c.wav").write_bytes(b"")
    paths = [tmp_path / "c.wav", tmp_path / "missing.xyz", tmp_path / "c.wav"]
    assert [one.path for one in find_all(paths).recordings] == paths
    both = find_all([tmp_path / "c.wav", tmp_path, tmp_path])
    assert [one.path.name for one in both.recordings] == ["c.wav", "b.wav"]
    assert find_all([Path("x/y.wav")]).recordings[0].name == Path("y")


def test_no_recordings_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"no recordings; give files, or folders with files named \.wav, \.flac"):
        find_all([tmp_path])
