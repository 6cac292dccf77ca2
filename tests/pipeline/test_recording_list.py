"""Folders of recordings: what is found below them, and what is passed over is said."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.commands import sld
from support.unreadable_files import refuse_to_open

from sld_user_dir.errors import InputError
from sld_user_dir.features.waveform import AudioError, probe
from sld_user_dir.manifests.audio_manifest import read_audio_manifest
from sld_user_dir.manifests.rejected import read_rejected
from sld_user_dir.pipeline.recording_list import find_all


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


def test_a_name_that_is_too_long_is_of_a_recording_that_fails(tmp_path):
    named = [tmp_path / f"{'a' * 300}.wav", tmp_path / ("b" * 300) / "c.wav"]
    assert [one.path for one in find_all(named).recordings] == named
    for path in named:
        with pytest.raises(AudioError, match="File name too long"):
            probe(path)


@pytest.fixture
def unlistable(monkeypatch):
    """Folders of this name cannot be listed, whoever runs the tests."""
    scandir = os.scandir

    def refuse(path="."):
        if isinstance(path, (str, Path)) and Path(path).name == "locked":  # not a descriptor
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


NOTHING = {
    "no file": ([], "no recordings found; give files, or folders with files named .wav, .flac"),
    "other files": (["a.txt", "b.txt", "README"], "among 3 files (2 of .txt, 1 of no ending); give files"),
    "audio that is not read": (["a.m4a", "b.WMA"], "among 2 files (1 of .m4a, 1 of .wma); convert them, for example"),
    "a folder that cannot be listed": (
        ["locked/a.wav"],
        "; 1 folders cannot be listed (TOP/locked: Permission denied)",
    ),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_no_recordings_is_an_error_that_says_what_there_is(kind, tmp_path, unlistable):
    names, said = NOTHING[kind]
    touch(tmp_path, *names)
    with pytest.raises(InputError) as error:
        find_all([tmp_path])
    assert said.replace("TOP", str(tmp_path)) in str(error.value)


def touch(top, *names):
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"")


def test_a_folder_is_entered_by_its_own_path_wherever_a_link_to_it_comes_first(tmp_path):
    touch(tmp_path, "top/z/a.wav", "top/z/deep/b.wav")
    (tmp_path / "top" / "a-link").symlink_to(tmp_path / "top" / "z")
    (tmp_path / "top" / "b-link").symlink_to(tmp_path / "top" / "z" / "deep")
    (tmp_path / "top" / "up").symlink_to(tmp_path)
    found = find_all([tmp_path / "top"])
    assert [os.fspath(one.name) for one in found.recordings] == ["z/a", "z/deep/b"]


def test_folders_named_like_audio_are_entered_and_empty_ones_fail_by_name(tmp_path):
    touch(tmp_path, "full.wav/a.wav")
    (tmp_path / "empty.wav").mkdir()
    found = find_all([tmp_path])
    assert [one.path for one in found.recordings] == [tmp_path / "empty.wav", tmp_path / "full.wav" / "a.wav"]


def write_corpus(root):
    """Recordings, and all that a scan passes over."""
    noise = (0.1 * np.random.default_rng(0).standard_normal(4000)).astype(np.float32)
    for folder in ("", "listed", "linked"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        soundfile.write(root / folder / "1-2-0000.wav", noise, 8000)
    (root / "1-2-0000.txt").write_text("one")
    (root / "listed" / "1-2.trans.txt").write_text("1-2-0000 ONE\n1-2-0001 TWO\n1-2-0002 SIX\n1-2-0000 ONE\n")
    (root / "linked").rename(root.parent / "elsewhere")
    (root / "linked").symlink_to(root.parent / "elsewhere")
    (root.parent / "elsewhere" / "1-2-0000.txt").write_text("two")
    touch(root, "a.m4a", "listed/b.m4a", "c.wma", "lonely.txt", "corpus.json", ".cache/d.wav", "locked/e.wav")


PASSED_OVER = (
    "1 folders cannot be listed: ROOT/locked (Permission denied)",
    "3 files hold audio of an ending that is not read: ROOT/a.m4a, ROOT/c.wma, ROOT/listed/b.m4a; convert them, for",
    "1 files skipped, not named like audio: ROOT/corpus.json",
    "1 names skipped that begin with a dot: ROOT/.cache",
    "2 transcripts in *.trans.txt are of no recording beside them: 1-2-0001, 1-2-0002",
    "1 lines in *.trans.txt are there twice: ROOT/listed/1-2.trans.txt:4",
    "1 files .txt belong to no recording: ROOT/lonely.txt",
)


def test_a_scan_says_what_it_passes_over_and_counts_it(tmp_path, unlistable, capsys):
    root, out = tmp_path / "root", tmp_path / "a.tsv"
    write_corpus(root)
    assert sld("audio", "--root", root, "--out", out) == 0
    printed = capsys.readouterr()
    found = {one.id: one.text for one in read_audio_manifest(out)}
    assert found == {"1-2-0000": "one", "listed/1-2-0000": "ONE", "linked/1-2-0000": "two"}
    for line in PASSED_OVER:
        assert f"{root}: {line.replace('ROOT', str(root))}" in printed.err
    assert "3 recordings, 0.00 h; 4 left out" in printed.out
    reasons = {one.id: one.reason for one in read_rejected(tmp_path / "a.rejected.tsv")}
    unread = "the ending .m4a is not read: convert it to .flac or .wav"
    assert reasons == {
        "a": unread,
        "listed/b": unread,
        "c": unread.replace("m4a", "wma"),
        "locked": "the folder cannot be listed: Permission denied",
    }


def test_a_scan_leaves_out_what_it_may_not_read(tmp_path, monkeypatch):
    """A transcript, and a recording."""
    root = tmp_path / "root"
    write_corpus(root)
    refuse_to_open(monkeypatch, root / "1-2-0000.txt", root / "linked" / "1-2-0000.wav")
    assert sld("audio", "--root", root, "--out", tmp_path / "a.tsv") == 0
    assert [one.id for one in read_audio_manifest(tmp_path / "a.tsv")] == ["listed/1-2-0000"]
    reasons = {one.id: one.reason for one in read_rejected(tmp_path / "a.rejected.tsv")}
    assert reasons["1-2-0000"] == "its transcript cannot be read: Permission denied"
    assert reasons["linked/1-2-0000"] == "Permission denied; check its permissions and its folder's"


def test_a_table_may_name_what_no_file_is_named(tmp_path):
    """Of the second one the name of a transcript beside it would be too long."""
    write_corpus(tmp_path)
    names = ["1-2-0000.wav", f"{'a' * 252}.au", f"{'b' * 300}.wav", f"{'c' * 300}/d.wav"]
    (tmp_path / "t.csv").write_text("path,text\n" + "".join(f"{name},\n" for name in names))
    assert sld("audio", "--root", tmp_path, "--table", tmp_path / "t.csv", "--out", tmp_path / "a.tsv") == 0
    assert [one.id for one in read_audio_manifest(tmp_path / "a.tsv")] == ["1-2-0000"]
    reasons = [one.reason for one in read_rejected(tmp_path / "a.rejected.tsv")]
    assert reasons == [
        f"{problem}; check the path"
        for problem in ("No such file or directory", "File name too long", "File name too long")
    ]


ROOTS = {
    "mistyped": (["--root", "nowhere"], "nowhere: no such folder; check --root"),
    "a file": (["--root", "a.wav"], "a.wav: a file, not a folder; check --root"),
    "a mistyped folder of it": (["--root", ".", "--folders", "x"], "x: no such folder; check --root and --folders"),
    "an empty table": (["--root", ".", "--table", "t.tsv"], "t.tsv: no recordings found; list some, one a line"),
}


@pytest.mark.parametrize("kind", ROOTS)
def test_a_root_without_recordings_is_named(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.wav")
    (tmp_path / "t.tsv").write_text("path\ttext\n")
    words, said = ROOTS[kind]
    assert sld("audio", *words, "--out", "out.tsv") == 1
    assert said in capsys.readouterr().err and not (tmp_path / "out.tsv").exists()
