"""Audio manifests: both forms, folders, and a thousand files of which twenty are broken."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.commands import sld

from sld_user_dir.manifests.audio_manifest import (
    AudioManifestError,
    Recording,
    draw_share,
    read_audio_manifest,
    with_speeds,
    with_warps,
    write_audio_manifest,
    write_fairseq_tsv,
)
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.pipeline.audio_scan import UsableAudio, add_pattern, check, find_below, recordings_of
from sld_user_dir.pipeline.recording_table import read_table
from sld_user_dir.pipeline.transcript_files import add_transcript


def found_below(root):
    return recordings_of(find_below(root), root)


def write_noise(path, n_samples=2000, rate=8000, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.1 * np.random.default_rng(seed).standard_normal(n_samples)
    soundfile.write(path, wave.astype(np.float32), rate)


def test_our_form_round_trips(tmp_path):
    rows = [
        Recording("a/1", tmp_path / "a/1.wav", 100, 8000, "one two", "ann", 1.0, {"take": "1"}),
        Recording("2", Path("/elsewhere/2.wav"), None, None, "ünï", "", 0.9, {"take": ""}),
    ]
    write_audio_manifest(tmp_path / "m.tsv", rows, tmp_path)
    assert read_audio_manifest(tmp_path / "m.tsv") == rows
    assert "a/1\ta/1.wav\t100" in (tmp_path / "m.tsv").read_text()
    assert rows[0].seconds == 100 / 8000


@pytest.mark.parametrize("text", ["one\u2028two", "one\x85two", "one\x0btwo", "one\x1ctwo"])
def test_a_line_ends_at_a_line_feed_and_nowhere_else(tmp_path, text):
    rows = [Recording(name, tmp_path / f"{name}.wav", 100, 16000, text) for name in "ab"]
    write_audio_manifest(tmp_path / "m.tsv", rows, tmp_path)
    assert read_audio_manifest(tmp_path / "m.tsv") == rows
    write_fairseq_tsv(tmp_path / "f.tsv", rows, tmp_path)
    assert read_audio_manifest(tmp_path / "f.tsv", sample_rate=16000) == rows


def test_line_ends_of_windows_are_ends_of_lines(tmp_path):
    rows = [Recording(name, tmp_path / f"{name}.wav", 100, 16000, "one two") for name in "ab"]
    for write, name in ((write_audio_manifest, "m"), (write_fairseq_tsv, "f")):
        write(tmp_path / f"{name}.tsv", rows, tmp_path)
        for path in tmp_path.glob(f"{name}.*"):
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        assert read_audio_manifest(tmp_path / f"{name}.tsv", sample_rate=16000) == rows


def test_a_carriage_return_within_a_line_is_a_space(tmp_path):
    rows = [Recording(name, tmp_path / f"{name}.wav", 100, 16000, "one two", "an n") for name in "ab"]
    write_audio_manifest(tmp_path / "m.tsv", rows, tmp_path)
    write_fairseq_tsv(tmp_path / "f.tsv", rows, tmp_path)
    for name in ("m.tsv", "f.wrd"):
        changed = (tmp_path / name).read_bytes().replace(b"one two", b"one\rtwo").replace(b"an n", b"an\rn")
        (tmp_path / name).write_bytes(changed)
    assert read_audio_manifest(tmp_path / "m.tsv") == rows
    assert [one.text for one in read_audio_manifest(tmp_path / "f.tsv", 16000)] == ["one two", "one two"]
    (tmp_path / "m.tsv").write_bytes((tmp_path / "m.tsv").read_bytes().replace(b"\na\t", b"\na\rb\t"))
    with pytest.raises(AudioManifestError, match=r"m\.tsv:4: the id .*contains a carriage return; rename it"):
        read_audio_manifest(tmp_path / "m.tsv")


@pytest.mark.parametrize("texts", ["wrd", "ltr"])
def test_fairseq_form_round_trips(tmp_path, texts):
    rows = [
        Recording("a/1", tmp_path / "a/1.wav", 100, 16000, "ONE TWO"),
        Recording("2", tmp_path / "2.wav", 50, 16000, "SIX"),
    ]
    write_fairseq_tsv(tmp_path / "m.tsv", rows, tmp_path)
    assert (tmp_path / "m.tsv").read_text() == f"{tmp_path}\na/1.wav\t100\n2.wav\t50\n"
    assert (tmp_path / "m.ltr").read_text() == "O N E | T W O |\nS I X |\n"
    (tmp_path / f"m.{'ltr' if texts == 'wrd' else 'wrd'}").unlink()
    assert read_audio_manifest(tmp_path / "m.tsv", sample_rate=16000) == rows


def test_speeds_rename_recordings_and_voices():
    (same, slow) = with_speeds(iter([Recording("u", Path("u.wav"), 800, 8000, "x", "ann")]), iter([1.0, 0.8]))
    assert (same.id, same.speaker, same.seconds) == ("u", "ann", 0.1)
    assert (slow.id, slow.speaker, slow.speed, slow.seconds) == ("sp0.8-u", "sp0.8-ann", 0.8, 0.125)


def test_warps_rename_recordings_and_voices_and_are_written_where_there_are_any(tmp_path):
    rows = with_warps(iter([Recording("u", tmp_path / "u.wav", 800, 8000, "x", "ann")]), iter([1.0, 0.9]))
    assert [(one.id, one.speaker, one.warp, one.seconds) for one in rows] == [
        ("u", "ann", 1.0, 0.1),
        ("vtlp0.9-u", "vtlp0.9-ann", 0.9, 0.1),
    ]
    for chosen, written in ((rows, True), (rows[:1], False)):
        write_audio_manifest(tmp_path / "m.tsv", chosen, tmp_path)
        assert ("\twarp" in (tmp_path / "m.tsv").read_text()) == written
        assert read_audio_manifest(tmp_path / "m.tsv") == chosen
    with pytest.raises(AudioManifestError, match=r"vtlp0\.9-u: fairseq's manifest holds no speed, no warp"):
        write_fairseq_tsv(tmp_path / "f.tsv", rows, tmp_path)


HEADER = '# format: "audio-manifest/1"\n'


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "empty"),
        (HEADER, "no column names"),
        (HEADER + "id\ttext\n", r":2: no column path"),
        (HEADER + "id\tpath\ttext\tpath\na\tb\tc\td\n", r":2: a column twice among .*'path'.*; name each column once"),
        (HEADER + "id\tpath\na\tb\tc\n", r":3: 3 columns, expected 2"),
        (HEADER + "id\tpath\tn_samples\na\tb\tmany\n", r":3: .*n_samples"),
        (HEADER + "id\tpath\tn_samples\na\tb\t-5\n", r":3: n_samples '-5' is no whole number from 0 on; .*or empty"),
        (HEADER + "id\tpath\tn_samples\na\tb\t14_400\n", r":3: n_samples '14_400' is no whole number"),
        (HEADER + "id\tpath\tsample_rate\na\tb\t0\n", r":3: sample_rate '0' is no whole number from 1 on; .*or empty"),
        (HEADER + "id\tpath\twarp\na\tb\tlong\n", r":3: .*warp are numbers"),
        (HEADER + "id\tpath\twarp\na\tb\t0\n", r":3: warp 0: a warp is a factor from 0\.5 to 2; correct it"),
        (HEADER + "id\tpath\twarp\na\tb\tnan\n", r":3: warp nan: a warp is a factor from 0\.5 to 2; correct it"),
        (HEADER + "id\tpath\twarp\na\tb\t9\n", r":3: warp 9: a warp is a factor from 0\.5 to 2; correct it"),
        (HEADER + "id\tpath\tspeed\na\tb\t0\n", r":3: speed 0: a speed is a factor above 0; correct it"),
        (HEADER + "id\tpath\tspeed\na\tb\t-1\n", r":3: speed -1: a speed is a factor above 0; correct it"),
        (HEADER + "id\tpath\tspeed\na\tb\tnan\n", r":3: speed nan: a speed is a factor above 0; correct it"),
        (HEADER + "id\tpath\tspeed\na\tb\tinf\n", r":3: speed inf: a speed is a factor above 0; correct it"),
        (HEADER + "id\tpath\na\tb\na\tc\n", r":4: duplicate id 'a', first on line 3"),
        (HEADER + "id\tpath\na\tb\n\tc\n", r":4: empty id"),
        (HEADER.replace("audio", "speech-unit") + "id\tpath\na\tb\n", r":1: not an audio manifest: no '# format"),
        ("# format: nonsense\n", r":1: header line"),
        ("/root\na.wav 300\n", r":2: not 'path<TAB>samples'"),
    ],
)
def test_bad_manifests_name_file_line_and_remedy(tmp_path, text, message):
    path = tmp_path / "bad.tsv"
    path.write_text(text)
    with pytest.raises(AudioManifestError, match=message) as error:
        read_audio_manifest(path)
    assert str(path) in str(error.value)


def test_more_bad_manifests(tmp_path):
    (tmp_path / "latin.tsv").write_bytes(HEADER.encode() + b"id\tpath\n\xff\tb\n")
    with pytest.raises(AudioManifestError, match=r"latin\.tsv:3: byte 0xff is not UTF-8; save the file"):
        read_audio_manifest(tmp_path / "latin.tsv")
    (tmp_path / "m.tsv").write_text("/root\na.wav\t3\n")
    (tmp_path / "m.wrd").write_text("one\ntwo\n")
    with pytest.raises(AudioManifestError, match=r"2 lines, m\.tsv lists 1"):
        read_audio_manifest(tmp_path / "m.tsv")
    with pytest.raises(AudioManifestError, match="check the path"):
        read_audio_manifest(tmp_path / "gone.tsv")


def test_librispeech_layout(tmp_path):
    write_noise(tmp_path / "84/121/84-121-0000.flac")
    (tmp_path / "84/121/84-121.trans.txt").write_text("84-121-0000 GO DO YOU HEAR\n")
    (found,) = [add_transcript(one) for one in found_below(tmp_path)]
    assert (found.id, found.text, found.speaker) == ("84/121/84-121-0000", "GO DO YOU HEAR", "84")


def test_folders_below_the_root_and_lower_case(tmp_path, capsys):
    for name in ("dev", "train", "test"):
        write_noise(tmp_path / name / "1" / "1-2-0000.wav")
        (tmp_path / name / "1" / "1-2.trans.txt").write_text("1-2-0000 HELLO YOU\n")
    out = tmp_path / "out.tsv"
    arguments = ["--root", tmp_path, "--out", out, "--lowercase", "--folders"]
    assert sld("audio", *arguments, "train", "dev") == 0
    rows = read_audio_manifest(out)
    assert [row.id for row in rows] == ["train/1/1-2-0000", "dev/1/1-2-0000"]
    assert {row.text for row in rows} == {"hello you"}
    assert sld("audio", *arguments, "dev", "nowhere") == 1
    assert "nowhere: no such folder" in capsys.readouterr().err


@pytest.mark.parametrize(("share", "count"), [(1.0, 50), (0.104, 6), (0.001, 1)])
def test_a_share_is_drawn_at_random_and_always_the_same(share, count):
    rows = [Recording(str(i), Path(f"{i}.wav")) for i in range(50)]
    drawn = draw_share(rows, share)
    assert len(drawn) == count and drawn == draw_share(rows, share)
    assert drawn == sorted(drawn, key=rows.index)
    assert share == 1.0 or drawn != rows[:count]
    if share < 1:
        assert drawn != draw_share(rows, share, seed=1)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_impossible_shares(share):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        draw_share([], share)


def test_text_beside_audio_pattern_and_table(tmp_path):
    write_noise(tmp_path / "7_ann_3.wav")
    (found,) = found_below(tmp_path)
    named = add_pattern(found, re.compile(r"(?P<text>\d)_(?P<speaker>\w+)_(?P<take>\d+)"))
    assert (named.text, named.speaker, named.fields) == ("7", "ann", {"take": "3"})
    (tmp_path / "7_ann_3.txt").write_text(" seven\n")
    assert add_transcript(found).text == "seven"
    (tmp_path / "t.csv").write_text('path,text,accent\n7_ann_3.wav,"seven, yes",north\n')
    (row,) = read_table(tmp_path / "t.csv", tmp_path)
    assert (row.id, row.text, row.fields) == ("7_ann_3", "seven, yes", {"accent": "north"})
    (tmp_path / "t.tsv").write_text("file\ttext\nx\ty\n")
    with pytest.raises(AudioManifestError, match="no column path"):
        read_table(tmp_path / "t.tsv", tmp_path)
    (tmp_path / "t.csv").write_text('path,text\na.wav,"two\nlines"\n\nb.wav\n')
    with pytest.raises(AudioManifestError, match=r"t\.csv:5: 1 columns, expected 2; .*comma"):
        read_table(tmp_path / "t.csv", tmp_path)
    (tmp_path / "t.tsv").write_text('path\ttext\nx.wav\t"six"\n\ny.wav\n')
    with pytest.raises(AudioManifestError, match=r"t\.tsv:4: 1 columns, expected 2; .*one tab"):
        read_table(tmp_path / "t.tsv", tmp_path)
    (tmp_path / "t.tsv").write_text('path\ttext\nx.wav\t"six"\n\ny.wav\ttwo\n')
    assert [row.text for row in read_table(tmp_path / "t.tsv", tmp_path)] == ['"six"', "two"]
    (tmp_path / "twice.csv").write_text("path,text,text\nx,y,z\n")
    with pytest.raises(AudioManifestError, match=r"twice\.csv:1: a column twice"):
        read_table(tmp_path / "twice.csv", tmp_path)


@pytest.mark.parametrize("ending", ["tsv", "csv"])
def test_lengths_and_rates_of_a_table_are_held_against_the_files(tmp_path, ending, capsys):
    for name in "abcd":
        write_noise(tmp_path / f"{name}.wav")
    stated = {"a": (2000, 8000, "ann"), "b": (4000, 8000, "bo"), "c": ("", "", "cy"), "d": (2000, 16000, "di")}
    lines = [("path", "n_samples", "sample_rate", "text", "speaker")]
    lines += [(f"{name}.wav", n, rate, f"text {name}", speaker) for name, (n, rate, speaker) in stated.items()]
    table, out = tmp_path / f"t.{ending}", tmp_path / "out.tsv"
    separator = {"tsv": "\t", "csv": ","}[ending]
    table.write_text("".join(separator.join(map(str, line)) + "\n" for line in lines))
    assert sld("audio", "--root", tmp_path, "--table", table, "--out", out) == 0
    assert read_audio_manifest(out) == [
        Recording(name, tmp_path / f"{name}.wav", 2000, 8000, f"text {name}", stated[name][2]) for name in "ac"
    ]
    rejected = (tmp_path / "out.rejected.tsv").read_text()
    assert "b.wav\tholds 2000 samples, but its manifest says 4000" in rejected
    assert "d.wav\thas 8000 samples a second, but its manifest says 16000" in rejected
    table.write_text(separator.join(["path", "text", "speed"]) + "\n")
    assert sld("audio", "--root", tmp_path, "--table", table, "--out", tmp_path / "no.tsv") == 1
    assert f"{table}:1: a column speed" in capsys.readouterr().err and not list(tmp_path.glob("no.*"))


@pytest.mark.parametrize("copies", ["speeds", "warps"])
def test_a_list_of_copies_is_not_listed_as_of_originals(tmp_path, copies, capsys):
    write_noise(tmp_path / "a.wav")
    options = ["--root", tmp_path, "--allow-missing-text", "--out"]
    assert sld("audio", *options, tmp_path / "copies.tsv", f"--{copies}", 1, 0.9) == 0
    assert sld("audio", *options, tmp_path / "again.tsv", "--fairseq", tmp_path / "copies.tsv") == 1
    assert re.search(
        r"copies\.tsv:5: \w+0\.9-a is a copy already, .*; list originals: --speeds", capsys.readouterr().err
    )
    assert not list(tmp_path.glob("again.*"))


def break_files(folder):
    """Twenty unusable files, and a word of the reason for each."""
    noise = (0.1 * np.random.default_rng(9).standard_normal(4000)).astype(np.float32)
    soundfile.write(folder / "source.flac", noise, 8000)
    flac = (folder / "source.flac").read_bytes()
    (folder / "source.flac").unlink()
    broken = {}
    for i in range(3):
        (folder / f"zero{i}.wav").touch()
        broken[f"zero{i}"] = "zero bytes"
        (folder / f"text{i}.wav").write_text("this is no audio " * 20)
        broken[f"text{i}"] = "not readable"
        (folder / f"cut{i}.flac").write_bytes(flac[: len(flac) // (i + 2)])
        broken[f"cut{i}"] = ""
        soundfile.write(folder / f"short{i}.wav", noise[:300], 8000)
        broken[f"short{i}"] = "too short"
        soundfile.write(folder / f"none{i}.wav", noise[:0], 8000)
        broken[f"none{i}"] = "no samples"
    soundfile.write(folder / "long.wav", np.tile(noise, 10), 8000)
    soundfile.write(folder / "nan.wav", np.append(noise, np.nan), 8000, subtype="FLOAT")
    (folder / "dangling.wav").symlink_to(folder / "gone.wav")
    (folder / "folder.wav").mkdir()
    soundfile.write(folder / "untranscribed.wav", noise, 8000)
    broken.update(long="too long", nan="NaN", dangling="No such file", folder="is a folder")
    broken["untranscribed"] = "no transcript"
    return broken


@pytest.mark.parametrize("n_good", [100, pytest.param(980, marks=pytest.mark.slow)])
def test_of_all_files_twenty_broken_the_others_become_units(tmp_path, capsys, n_good):
    audio = tmp_path / "audio"
    for i in range(n_good):
        write_noise(audio / f"u{i:03}.wav", seed=i)
        (audio / f"u{i:03}.txt").write_text(f"text {i}")
    broken = break_files(audio)
    for name in set(broken) - {"untranscribed"}:
        (audio / f"{name}.txt").write_text("text")
    assert len(broken) == 20
    manifest, units = tmp_path / "a.tsv", tmp_path / "units.tsv"
    assert sld("audio", "--root", audio, "--out", manifest, "--max-seconds", 4) == 0
    said = capsys.readouterr().out
    assert f"{n_good} recordings" in said and "20 left out" in said
    rows = [line.split("\t") for line in (tmp_path / "a.rejected.tsv").read_text().splitlines()[1:]]
    assert {row[0] for row in rows} == set(broken)
    for name, path, reason in rows:
        assert broken[name] in reason and reason and path.startswith(str(audio))
    code = sld(
        "kmeans",
        "--audio",
        manifest,
        "--out",
        tmp_path / "km.npz",
        "--num-units",
        20,
        "--sample-rate-hz",
        8000,
        "--stack",
        4,
        "--max-iterations",
        5,
        "--device",
        "cpu",
    )
    assert code == 0
    whole = tmp_path / "whole.tsv"
    assert sld("units", "--audio", manifest, "--kmeans", tmp_path / "km.npz", "--out", whole) == 0
    assert read_manifest(whole).column("id") == [f"u{i:03}" for i in range(n_good)]
    (audio / "u007.wav").write_bytes(b"overwritten since")  # found when it is read
    assert (tmp_path / "km.npz.rejected.tsv").read_text() == "id\tpath\treason\n"
    options = ["--audio", manifest, "--kmeans", tmp_path / "km.npz", "--out", units]
    assert sld("units", *options, "--header", "license=CC0") == 0
    result = read_manifest(units)
    assert result.column("id") == [f"u{i:03}" for i in range(n_good) if i != 7]
    assert result.header["license"] == "CC0" and result.provenance.num_units == 20
    assert "u007\t" in (tmp_path / "units.rejected.tsv").read_text()


def test_headers_alone_miss_what_decoding_finds(tmp_path):
    write_noise(tmp_path / "a.flac", 8000)
    whole = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(whole[: len(whole) // 2])
    recordings = found_below(tmp_path)
    assert len(check(recordings, UsableAudio(need_text=False, decode=False))[0]) == 1
    assert len(check(recordings, UsableAudio(need_text=False))[1]) == 1


def test_a_pattern_says_which_names_it_does_not_match(tmp_path, capsys):
    for name in ("7_ann", "8_ben", "nine"):
        write_noise(tmp_path / f"{name}.wav")
    scan = ["audio", "--root", tmp_path, "--out", tmp_path / "a.tsv", "--allow-missing-text", "--pattern"]
    assert sld(*scan, r"(?P<text>\d)_(?P<speaker>\w+)") == 0
    assert r"--pattern (?P<text>\d)_(?P<speaker>\w+): matches 2 of 3 names; not nine" in capsys.readouterr().err
    assert [one.speaker for one in read_audio_manifest(tmp_path / "a.tsv")] == ["ann", "ben", ""]
    assert sld(*scan, r"(?P<speaker>\w+)") == 0
    assert "matches" not in capsys.readouterr().err


@pytest.mark.parametrize("pattern", [r"(\w+)", r"\w+", ""])
def test_a_pattern_without_a_named_group_is_refused_before_anything_is_read(pattern, tmp_path, capsys):
    assert sld("audio", "--root", tmp_path / "gone", "--out", tmp_path / "a.tsv", "--pattern", pattern) == 1
    said = capsys.readouterr().err
    assert f"sld audio: --pattern {pattern}: has no named group, of which a column could be made; name them" in said


def test_a_pattern_that_matches_no_name_is_refused(tmp_path, capsys):
    write_noise(tmp_path / "7_ann.wav")
    words = ["--root", tmp_path, "--out", tmp_path / "a.tsv", "--pattern", r"(?P<text>\d)"]
    assert sld("audio", *words) == 1
    said = capsys.readouterr().err
    assert r"--pattern (?P<text>\d): matches 0 of 1 names; not 7_ann; it has to match a whole name" in said
    assert not (tmp_path / "a.tsv").exists()


@pytest.mark.parametrize(
    "options",
    [
        *(["--fairseq", "l.tsv", *words] for words in (["--table", "t.tsv"], ["--share", "0.5"], ["--lowercase"])),
        *([source, "l.tsv", "--folders", "a"] for source in ("--fairseq", "--table")),
        ["--fairseq", "l.tsv", "--pattern", r"(?P<text>\w+)"],
    ],
)
def test_an_option_that_a_list_makes_void_is_refused(options, tmp_path, capsys):
    assert sld("audio", "--root", tmp_path, "--out", tmp_path / "a.tsv", *options) == 1
    assert f"sld audio: {options[0]} with {options[2]}: the list is taken as it is" in capsys.readouterr().err


def test_commands_fail_with_one_line(tmp_path, capsys):
    assert sld("audio", "--root", tmp_path, "--out", tmp_path / "a.tsv") == 1
    assert "no recordings found" in capsys.readouterr().err
    gone = ["--audio", tmp_path / "x", "--kmeans", tmp_path / "k", "--out", tmp_path / "o"]
    assert sld("units", *gone) == 1
    assert "No such file or directory; check the path" in capsys.readouterr().err
    assert sld("kmeans", "--audio", tmp_path / "x", "--out", tmp_path / "k") == 1
