"""Recordings of strange names: through every table and back, or left out by name; they never stop a scan."""

import os
import unicodedata
from pathlib import Path
from typing import Dict, Optional

import numpy as np
import pytest
import soundfile
from support.commands import sld

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.audio_manifest import (
    AudioManifestError,
    Recording,
    read_audio_manifest,
    write_audio_manifest,
    write_fairseq_tsv,
)
from sld_user_dir.manifests.memory_map import MappedManifest, open_manifest
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.rejected import Rejected, read_rejected, write_rejected
from sld_user_dir.manifests.unit_manifest import ManifestError, Utterance, read_manifest, write_manifest
from sld_user_dir.pipeline.audio_scan import find_below, list_recordings, recordings_of, split_off_unlistable

KEPT = {
    "space": "a b",
    "two spaces": "a  b",
    "space before": " a",
    "space after": "a ",
    "U+2028": "a\u2028b",
    "U+2029 at the end": "a\u2029",
    "U+0085": "a\x85b",
    "form feed": "a\x0cb",
    "vertical tab": "a\x0bb",
    "file separator": "a\x1cb",
    "no-break space": "a\xa0b",
    "byte order mark within": "a\ufeffb",
    "bar": "a|b",
    "hash": "# a",
    "quotation marks": "\"a'",
    "backslash": r"a\tb",
    "comma": "a,b",
    "decomposed": unicodedata.normalize("NFD", "é"),
    "composed": "é",
    "dots": "a.b.c",
    "another plane": "𝒶",
}
LEFT_OUT = {
    "tab": ("a\tb", "contains a tab", r"a\tb"),
    "line feed": ("a\nb", "contains a line break", r"a\nb"),
    "carriage return": ("a\rb", "contains a carriage return", r"a\rb"),
    "carriage return at the end": ("a\r", "contains a carriage return", r"a\r"),
    "byte order mark before": ("\ufeffa", "begins with a byte order mark", r"\ufeffa"),
    "Latin-1": (os.fsdecode(b"caf\xe9"), "is not UTF-8", r"caf\xe9"),
    "cut UTF-8": (os.fsdecode("é".encode()[:1]), "is not UTF-8", r"\xc3"),
}


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("folder", ["", "sub"])
@pytest.mark.parametrize("kind", KEPT)
def test_names_that_every_table_gives_back(kind, folder, tmp_path):
    name = str(Path(folder, KEPT[kind]))
    recording = Recording(name, tmp_path / f"{name}.wav", 960, 16_000, "one two")
    write_audio_manifest(tmp_path / "a.tsv", [recording], tmp_path)
    assert read_audio_manifest(tmp_path / "a.tsv") == [recording]
    write_fairseq_tsv(tmp_path / "f.tsv", [recording], tmp_path)
    assert read_audio_manifest(tmp_path / "f.tsv", 16_000) == [recording]
    rejected = [Rejected(name, recording.path, "too short")]
    write_rejected(tmp_path / "r.tsv", rejected)
    assert read_rejected(tmp_path / "r.tsv") == rejected
    fields = {"path": str(recording.path), "speaker": name}
    write_manifest(
        tmp_path / "u.tsv", [Utterance(name, np.array([1]), "one", fields=fields)], UnitProvenance.unknown(9)
    )
    for manifest in (read_manifest(tmp_path / "u.tsv"), open_manifest(tmp_path / "u.tsv")):
        assert (manifest[0].id, manifest[0].fields) == (name, fields)
    assert isinstance(manifest, MappedManifest)


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_names_that_no_table_can_hold_are_refused_by_every_writer(kind, tmp_path):
    name, problem, shown = LEFT_OUT[kind]
    recording = Recording(name, tmp_path / f"{name}.wav", 960, 16_000, "one two")
    for write in (write_audio_manifest, write_fairseq_tsv):
        with pytest.raises(AudioManifestError, match=problem) as error:
            write(tmp_path / "a.tsv", [recording], tmp_path)
        assert str(error.value).startswith(shown) and "rename" in str(error.value)
    with pytest.raises(ManifestError, match=problem) as error:
        write_manifest(tmp_path / "u.tsv", [Utterance(name, np.array([1]), "one")], UnitProvenance.unknown(9))
    assert str(error.value).startswith(shown)
    assert list(tmp_path.iterdir()) == []
    write_rejected(tmp_path / "r.tsv", [Rejected(name, recording.path, "its name")])
    (row,) = read_rejected(tmp_path / "r.tsv")
    assert row.id == shown
    # a mark that does not begin the line stays as it is
    assert row.path == (recording.path if kind == "byte order mark before" else tmp_path / f"{shown}.wav")


def write_recordings(root: Path, names: Dict[str, Optional[str]]) -> None:
    """A noise of 0.3 s of each name, with its transcript beside."""
    noise = (0.1 * np.random.default_rng(0).standard_normal(2400)).astype(np.float32)
    soundfile.write(root / "plain.wav", noise, 8000)
    content = (root / "plain.wav").read_bytes()
    (root / "plain.txt").write_text("one")
    for name in names:
        (root / f"{name}.wav").write_bytes(content)
        (root / f"{name}.txt").write_text("one")


def test_a_folder_of_strange_names_becomes_units(tmp_path, capsys):
    root = tmp_path / "audio"
    root.mkdir()
    names = [*KEPT.values(), *(name for name, _, _ in LEFT_OUT.values())]
    write_recordings(root, dict.fromkeys(names))
    (root / os.fsdecode(b"gr\xfc\xdfe")).mkdir()
    (root / os.fsdecode(b"gr\xfc\xdfe") / "b.wav").write_bytes((root / "plain.wav").read_bytes())
    manifest, kmeans, units = tmp_path / "a.tsv", tmp_path / "k.npz", tmp_path / "u.tsv"
    assert sld("audio", "--root", root, "--out", manifest) == 0
    kept = {"plain", *KEPT.values()}
    assert f"{len(kept)} recordings" in capsys.readouterr().out
    assert {one.id for one in read_audio_manifest(manifest)} == kept
    assert all(one.path.is_file() and one.text == "one" for one in read_audio_manifest(manifest))
    rejected = {one.id: one.reason for one in read_rejected(tmp_path / "a.rejected.tsv")}
    expected = {shown: f"its name {problem}: rename it" for _, problem, shown in LEFT_OUT.values()}
    assert rejected == {**expected, r"gr\xfc\xdfe/b": "its name is not UTF-8: rename it"}
    names = ["a.rejected.tsv", "a.tsv", "a.tsv.job", "a.tsv.ledger.json", "audio"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    options = ["--num-units", 4, "--sample-rate-hz", 8000, "--max-iterations", 2, "--device", "cpu"]
    assert sld("kmeans", "--audio", manifest, "--out", kmeans, *options) == 0
    assert sld("units", "--audio", manifest, "--kmeans", kmeans, "--out", units, "--shards", 2) == 0
    assert set(read_manifest(units).column("id")) == kept
    assert read_manifest(units).column("id") == open_manifest(units).column("id")
    assert read_rejected(tmp_path / "u.rejected.tsv") == []


def test_two_recordings_of_one_id_are_named(tmp_path):
    write_recordings(tmp_path, {"a": None})
    (tmp_path / "a.flac").write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.wav: its id 'a' is also that of .*a\.flac; remove or rename one"):
        list_recordings(tmp_path)
    with pytest.raises(AudioManifestError, match="its id 'a' is also that of"):
        write_audio_manifest(tmp_path / "m.tsv", recordings_of(find_below(tmp_path), tmp_path), tmp_path)


def test_a_root_that_no_table_can_hold_is_refused(tmp_path):
    root = tmp_path / os.fsdecode(b"gr\xfc\xdfe")
    recording = Recording("a", tmp_path / "a.wav", 960, 16_000, "one")
    for write in (write_audio_manifest, write_fairseq_tsv):
        with pytest.raises(AudioManifestError, match=r"gr\\xfc\\xdfe: the folder's name is not UTF-8; rename it"):
            write(tmp_path / "m.tsv", [recording], root)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("one|two", "the transcript contains '|', which stands for the space in .ltr; remove it from the text"),
        ("one\ntwo", "the transcript contains a line break; remove it"),
        ("\ufeffone", "the transcript begins with a byte order mark; remove it"),
    ],
)
def test_transcripts_that_fairseqs_form_cannot_hold(text, problem, tmp_path):
    with pytest.raises(AudioManifestError) as error:
        write_fairseq_tsv(tmp_path / "m.tsv", [Recording("a", tmp_path / "a.wav", 9, 8000, text)], tmp_path)
    assert str(error.value) == f"a: {problem}"


def test_only_names_decide_what_is_split_off(tmp_path):
    fine = [Recording(name, tmp_path / f"{name}.wav") for name in KEPT.values()]
    assert split_off_unlistable(fine) == (fine, [])
