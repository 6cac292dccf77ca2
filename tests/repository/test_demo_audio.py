"""The audio demo: the prompts' reader, the split, joined strings, and the whole of it on a few noises."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from support.forks import forwarding_programs
from support.miniature import ROOT, make_utterances

from sld_user_dir.corpora import asterisk_prompts
from sld_user_dir.corpora.asterisk_prompts import CorpusError, fetch, read_prompts, write_table
from sld_user_dir.corpora.joined import join_utterances
from sld_user_dir.corpora.splits import SplitError, describe_split, plain_text, split_recordings, subset_of
from sld_user_dir.experiment import fairseq_commands
from sld_user_dir.experiment.baselines import dealt_out_wer
from sld_user_dir.manifests.audio_manifest import Recording
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.pipeline.recording_table import read_table
from sld_user_dir.scoring.hypotheses import DecodedUtterance, Hypothesis

sys.path.insert(0, str(ROOT / "scripts"))

import demo_audio

LISTING = """\
; Core Asterisk Sounds in English

activated: Activated.
digits/5: five
beep: [this is a simple beep tone]
confbridge-join: <beep ascending>
silence/1: (1 second of silence)
letters/at: at [@]
gone: Where is it?
vm-theperson: Quote: "unquote"
"""


@pytest.fixture
def tree(tmp_path):
    """A tree as dpkg unpacks it."""
    docs, sounds = tmp_path / "usr/share/doc/sounds", tmp_path / "usr/share/asterisk/sounds/en_US"
    docs.mkdir(parents=True)
    with gzip.open(docs / "core-sounds-en.txt.gz", "wt", encoding="utf-8") as out:
        out.write(LISTING)
    for name in ("activated", "digits/5", "beep", "letters/at", "vm-theperson", "silence/1", "extra/unlisted"):
        path = sounds / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(800), 8000)
    return tmp_path


def test_prompts_that_are_speech_and_there(tree, tmp_path):
    prompts = read_prompts(tree)
    assert prompts.root == tree / "usr/share/asterisk/sounds/en_US"
    spoken = [("activated", "Activated."), ("digits/5", "five"), ("letters/at", "at")]
    assert prompts.spoken == [*spoken, ("vm-theperson", 'Quote: "unquote"')]
    assert prompts.not_speech == ["beep", "confbridge-join", "silence/1"]
    assert prompts.missing == ["gone"] and prompts.untranscribed == ["extra/unlisted"]
    write_table(prompts, tmp_path / "t.tsv")
    recordings = read_table(tmp_path / "t.tsv", prompts.root)
    assert [(one.id, one.text) for one in recordings] == prompts.spoken and all(r.path.exists() for r in recordings)


def test_a_tree_that_is_no_corpus(tree, tmp_path):
    (listing,) = tree.rglob("*.gz")
    with gzip.open(listing, "at", encoding="utf-8") as out:
        out.write("a line without a colon\n")
    with pytest.raises(CorpusError, match=r"core-sounds-en.txt.gz:11: not 'name: text'"):
        read_prompts(tree)
    listing.unlink()
    with pytest.raises(CorpusError, match=r"no core-sounds-en.txt.gz"):
        read_prompts(tree)


def test_without_apt_the_error_names_the_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert demo_audio.main(["--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "apt-get, which this machine lacks" in said and "AUDIO=folder" in said


def fake_apt(folder, monkeypatch, *, lists_there):
    """Programs `apt-get` and `dpkg` that need `apt-get update` first, unless the lists are there."""
    (folder / "lists").write_text("") if lists_there else None
    for name, code in {
        "apt-get": f'cd "{folder}"; [ $1 = update ] && {{ touch lists; exit; }}; [ -f lists ] || '
        '{ echo "E: No packages found" >&2; exit 100; }; cd "$OLDPWD"; shift; for p; do touch "${p}_1_all.deb"; done',
        "dpkg": 'mkdir -p "$3"; echo "$2" >> "$3/unpacked"',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{code}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize("user, lists_there", [(1000, True), (0, True), (0, False)])
def test_packages_are_fetched_once(tmp_path, monkeypatch, user, lists_there):
    (tmp_path / "bin").mkdir()
    fake_apt(tmp_path / "bin", monkeypatch, lists_there=lists_there)
    monkeypatch.setattr(asterisk_prompts.os, "geteuid", lambda: user)
    tree = fetch(tmp_path / "corpus")
    assert [line.split("_")[0] for line in (tree / "unpacked").read_text().split()] == list(asterisk_prompts.PACKAGES)
    monkeypatch.setenv("PATH", "")
    assert fetch(tmp_path / "corpus") == tree


def test_without_package_lists_the_error_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    fake_apt(tmp_path / "bin", monkeypatch, lists_there=False)
    monkeypatch.setattr(asterisk_prompts.os, "geteuid", lambda: 1000)
    with pytest.raises(CorpusError, match=r"E: No packages found.*apt-get update.*AUDIO=folder"):
        fetch(tmp_path / "corpus")
    assert not (tmp_path / "corpus" / "unpacked").exists()


def test_plain_text():
    assert plain_text("I'm sorry, 'that's' Inter-Asterisk A.M. 28.8 #*") == "i'm sorry that's inter asterisk a m 28 8"
    assert plain_text("Ünïcode, नमस्ते!") == "ünïcode नमस्ते" and plain_text(" …* ") == ""


def recordings(texts):
    return [Recording(f"u{i:03}", None, 8000, 8000, text) for i, text in enumerate(texts)]


def test_no_transcript_is_in_two_sets():
    texts = [f"Number {i % 150}." for i in range(300)] + ["...", "press #", "Press"]
    sets = split_recordings(recordings(texts))
    said = {name: {one.text for one in members} for name, members in sets.items()}
    assert not said["train"] & said["valid"] and not (said["train"] | said["valid"]) & said["test"]
    assert sum(map(len, sets.values())) == 302  # "..." has nothing to read
    assert {name: len(members) for name, members in split_recordings(recordings(texts)[::-1]).items()} == {
        name: len(members) for name, members in sets.items()
    }
    assert 0 < len(sets["test"]) < 100 < len(sets["train"])
    assert describe_split(sets, "text").endswith("% of the test set's words are in no training text")


def test_the_share_of_the_sets():
    drawn = [subset_of(str(i)) for i in range(4000)]
    assert 340 < drawn.count("test") < 460 and 340 < drawn.count("valid") < 460


def test_splits_that_cannot_be_made():
    with pytest.raises(SplitError, match=r"2 different values to split by .text. are too few; split by recording"):
        split_recordings(recordings(["one", "two"] * 50))
    assert min(map(len, split_recordings(recordings(["one", "two"] * 50), by="recording").values())) > 0
    with pytest.raises(SplitError, match="u000: no speaker"):
        split_recordings(recordings(["one"]), by="speaker")
    with pytest.raises(SplitError, match="text, recording, speaker"):
        split_recordings(recordings(["one"]), by="luck")


def test_joined_strings_are_what_they_say():
    utterances = make_utterances(20)
    parts = {tuple(u.units): u for u in utterances}
    strings = list(join_utterances(utterances, 30, longest=40))
    assert len({s.id for s in strings}) == 30 and {s.fields["speaker"] for s in strings} == {"s0", "s1"}
    words = {(2 * w, 2 * w, 2 * w + 1): text for u in parts.values() for w, text in _words(u)}
    for one in strings:
        assert len(one.units) <= 40
        assert " ".join(words[tuple(one.units[i : i + 3])] for i in range(0, len(one.units), 3)) == one.text
        assert len(one.text.split()) >= 2
    again = list(join_utterances(utterances, 30, longest=40))
    assert [s.text for s in again] == [s.text for s in strings]
    with pytest.raises(ValueError, match="no two utterances fit into 2 units"):
        list(join_utterances(utterances, 1, longest=2))


def _words(utterance):
    return [(int(u) // 2, text) for u, text in zip(utterance.units[::3], utterance.text.split())]


def test_outputs_dealt_at_random():
    texts = ["press one", "thank you", "hello world", "conference is full"] * 10
    records = [DecodedUtterance(i, str(i), text, hypotheses=[Hypothesis(text)]) for i, text in enumerate(texts)]
    assert 50 < dealt_out_wer(records) < 100  # a quarter falls on the right one
    same = [DecodedUtterance(i, str(i), "press one", hypotheses=[Hypothesis("press two")]) for i in range(5)]
    assert dealt_out_wer(same) == 50.0
    silent = [DecodedUtterance(0, "a", "press one", hypotheses=[Hypothesis("")])]
    assert dealt_out_wer(silent) == 100.0


@pytest.fixture
def folder(tmp_path):
    """Forty noises with transcripts, one of them broken."""
    audio = tmp_path / "audio"
    audio.mkdir()
    for i in range(40):
        wave = 0.1 * np.random.default_rng(i).standard_normal(3000 + 100 * i)
        soundfile.write(audio / f"u{i:02}.wav", wave, 8000)
        (audio / f"u{i:02}.txt").write_text(f"Prompt {i}, please.")
    (audio / "u39.wav").write_bytes(b"no audio")
    return audio


def test_a_folder_to_a_table_and_again(folder, tmp_path, monkeypatch, capsys):
    small = {"decoder_layers": 1, "decoder_embed_dim": 16, "max_tokens": 400}
    monkeypatch.setattr(demo_audio, "TRAIN", {**demo_audio.TRAIN, **small})
    programs = forwarding_programs(tmp_path / "bin", "fairseq-train", "fairseq-generate")
    monkeypatch.setattr(fairseq_commands, "executable", lambda name: str(programs / name))
    options = ["--audio", folder, "--out", tmp_path / "out", "--num-units", 8, "--joins", 5, "--speeds", "1.0,1.1"]
    options = [*map(str, options), "--max-update", "2", "--text-tokenizer", "char"]
    assert demo_audio.main(options) == 0
    said = capsys.readouterr().out
    (row,) = json.loads((tmp_path / "out" / "results.json").read_text())
    (data,) = (tmp_path / "out").glob("*/data")
    sets = {name: read_manifest(data / f"{name}.tsv") for name in ("train", "valid", "test")}
    plain = [u for u in sets["train"] if not u.id.startswith("joined-")]
    assert len(plain) % 2 == 0 and len(sets["train"]) == len(plain) + 5
    assert len(plain) // 2 + len(sets["valid"]) + len(sets["test"]) == 39
    assert row["criterion"] == "sld" and row["utterances"] == len(sets["test"]) and row["updates"] == 2
    assert f"{row['wer']:.2f}" in said and f"random: {row['dealt_out_wer']:.2f} % WER" in said
    assert "39 recordings, " in said and "1 left out" in said and "split by a hash of the text" in said
    done = data.parent / "systems" / "sld" / "trained"
    stamp = done.stat().st_mtime_ns
    assert demo_audio.main(options) == 0
    assert done.stat().st_mtime_ns == stamp and json.loads((tmp_path / "out" / "results.json").read_text()) == [row]


def test_a_stage_that_fails_ends_the_demo(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert demo_audio.main(["--audio", str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 1
    assert "sld audio: failed, see above" in capsys.readouterr().err
    assert demo_audio.main(["--criteria", "magic", "--out", str(tmp_path / "out")]) == 1
    assert "no criterion 'magic'" in capsys.readouterr().err


def test_make_has_the_target():
    done = subprocess.run(["make", "-n", "demo-audio", "AUDIO=my folder"], cwd=ROOT, capture_output=True, text=True)
    assert 'scripts/demo_audio.py --audio "my folder"' in done.stdout
