"""Connected digits: sets are disjoint, strings are what they say, the whole script (slow) is repeatable."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
from support.asterisk import make_tree
from support.encoders import save_whisper
from support.miniature import ROOT

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.corpora.connected_digits import (
    SAMPLE_RATE_HZ,
    UNSEEN_SPEAKER,
    WORDS,
    SubsetSize,
    draw_strings,
    find_digits,
    write_strings,
)
from sld_user_dir.errors import InputError
from sld_user_dir.manifests.audio_manifest import read_audio_manifest
from sld_user_dir.manifests.unit_manifest import read_manifest

KINDS = ("", "-mfcc", "-whisper")
SUBSETS = ("train", "valid", "test", "test_unseen")


@pytest.fixture(scope="module")
def fsdd(tmp_path_factory):
    """Recordings named as FSDD names them: a tone of its own for each digit and index."""
    folder = tmp_path_factory.mktemp("fsdd")
    time = np.arange(SAMPLE_RATE_HZ // 5) / SAMPLE_RATE_HZ
    for speaker in ("george", UNSEEN_SPEAKER):
        for digit in range(10):
            for index in range(12):
                wave = 0.3 * np.sin(2 * np.pi * (200 + 150 * digit + index) * time)
                soundfile.write(folder / f"{digit}_{speaker}_{index}.wav", wave, SAMPLE_RATE_HZ)
    return folder


def test_no_recording_is_in_two_sets(fsdd):
    digits = find_digits(fsdd)
    assert len(digits) == 240
    sets = {name: {d for d in digits if d.subset == name} for name in SUBSETS}
    assert sum(map(len, sets.values())) == 240
    assert all(d.index < 5 and d.speaker != UNSEEN_SPEAKER for d in sets["test"])
    assert {d.speaker for d in sets["test_unseen"]} == {UNSEEN_SPEAKER} and len(sets["test_unseen"]) == 120


def test_every_recording_is_used_before_any_is_used_again(fsdd):
    pool = [d for d in find_digits(fsdd) if d.subset == "test"]
    strings = list(draw_strings(pool, 40, np.random.default_rng(0)))
    used = [d for s in strings for d in s]
    assert {len(s) for s in strings} == set(range(1, 8))
    assert len(set(used[: len(pool)])) == len(pool)


def test_audio_and_text_of_a_string_agree(fsdd, tmp_path):
    sizes = {"test": SubsetSize(6), "train": SubsetSize(8, (0.9, 1.1))}
    manifests = write_strings(find_digits(fsdd), sizes, tmp_path)
    for recording in read_audio_manifest(manifests["test"]):
        names = recording.fields["digits"].split()
        assert recording.text.split() == [WORDS[int(name[0])] for name in names]
        wave = np.concatenate([soundfile.read(fsdd / f"{name}.wav")[0] for name in names])
        assert np.allclose(soundfile.read(recording.path)[0], wave, atol=1e-4)
    assert {r.speed for r in read_audio_manifest(manifests["train"])} == {0.9, 1.1}


def test_a_folder_without_recordings_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no recordings named like 7_george_12\.wav; get them from github"):
        find_digits(tmp_path)


def test_committed_manifests_share_no_recording():
    seen = {}
    for name in SUBSETS:
        manifest = read_manifest(ROOT / "manifests" / "digits" / f"{name}.tsv")
        assert manifest.header["license"] == "CC BY-SA 4.0" and "Zohar Jackson" in manifest.header["attribution"]
        for utterance in manifest:
            names = utterance.fields["digits"].split()
            assert utterance.text.split() == [WORDS[int(n[0])] for n in names] and 1 <= len(names) <= 7
            for recording in names:
                assert seen.setdefault(recording, name) == name


def test_siblings_say_the_same_in_other_units():
    """Another k-means, another encoder, the same strings; the headers say whose speech and whose encoder."""
    for subset in SUBSETS:
        first, *others = (read_manifest(ROOT / "manifests" / f"digits{suffix}" / f"{subset}.tsv") for suffix in KINDS)
        strings = [(one.id, one.text, one.fields["digits"]) for one in first]
        for other in others:
            assert [(one.id, one.text, one.fields["digits"]) for one in other] == strings
            assert other.header["license"] == "CC BY-SA 4.0" and "Zohar Jackson" in other.header["attribution"]
    warped = list(read_manifest(ROOT / "manifests" / "digits-mfcc" / "train_warped.tsv"))
    plain = read_manifest(ROOT / "manifests" / "digits-mfcc" / "train.tsv")
    assert [(one.text, one.fields["digits"]) for one in warped] == [(one.text, one.fields["digits"]) for one in plain]
    speakers = {one.fields["speaker"] for one in warped}
    voices = {speaker.rsplit("-", 1)[0] for speaker in speakers}
    assert {"vtlp0.9-sp1.1", "vtlp1.1", "sp0.9"} <= voices and UNSEEN_SPEAKER not in str(speakers)
    for suffix in KINDS[1:]:
        prompts = read_manifest(ROOT / "manifests" / f"digits{suffix}" / "test_asterisk.tsv")
        assert [one.text for one in prompts] == WORDS
        assert prompts.header["license"] == "CC BY-SA 3.0" and "Allison Smith" in prompts.header["attribution"]
        voices = read_manifest(ROOT / "manifests" / f"digits{suffix}" / "test_voices.tsv")
        assert sum(len(one.text.split()) for one in voices) == 2200 and voices.header["license"] == "CC BY 4.0"
        assert "Pete Warden" in voices.header["attribution"]
    whisper = read_manifest(ROOT / "manifests" / "digits-whisper" / "valid.tsv")
    assert "MIT" in whisper.header["attribution"] and "supervised" in whisper.header["attribution"]
    assert whisper.provenance.deduplicated and whisper.header["features"] == "openai/whisper-tiny.en"


def test_siblings_state_their_own_k_means_and_no_folder_of_a_machine():
    for suffix in KINDS:
        folder = ROOT / "manifests" / f"digits{suffix}"
        kmeans = KMeans.load(folder / "kmeans.npz")
        assert read_manifest(folder / "test.tsv").provenance.kmeans == kmeans.sha256
        assert kmeans.metadata["model_name"] in ("mfcc", "openai/whisper-tiny.en")


def test_a_folder_without_a_model_is_refused(fsdd, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import make_digits

    words = ["--fsdd", str(fsdd), "--whisper", str(tmp_path), "--work", str(tmp_path / "work")]
    assert make_digits.main(words) == 1
    assert "no model's directory" in capsys.readouterr().err


@pytest.mark.slow
def test_the_siblings_are_made_from_any_machine_s_folders(fsdd, tmp_path):
    """Both kinds beside the first, by a small random Whisper, with Asterisk's digits; the same bytes from elsewhere."""
    save_whisper(tmp_path / "encoder", seconds=10)
    prompts = make_tree(tmp_path / "prompts", WORDS, samples=4000)
    for run in ("a", "b"):
        words = ["--fsdd", fsdd, "--whisper", tmp_path / "encoder", "--asterisk", prompts, "--num-units", 8]
        words += ["--out", tmp_path / run / "digits", "--work", tmp_path / f"work-{run}"]
        words += ["--train-strings", 12, "--test-strings", 4, "--layer", 1]
        script = ROOT / "scripts" / "make_digits.py"
        subprocess.run([sys.executable, script, *map(str, words)], check=True)
    for suffix in KINDS:
        folders = [tmp_path / run / f"digits{suffix}" for run in ("a", "b")]
        names = sorted(path.name for path in folders[0].iterdir())
        assert ("test_asterisk.tsv" in names) == bool(suffix) and "kmeans.npz" in names
        assert ("train_warped.tsv" in names) == (suffix == "-mfcc")
        assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in names)
    assert (
        KMeans.load(tmp_path / "a" / "digits-whisper" / "kmeans.npz").metadata["model_name"] == "openai/whisper-tiny.en"
    )


@pytest.mark.slow
def test_the_script_gives_the_same_bytes_twice(fsdd, tmp_path):
    for run in ("a", "b"):
        subprocess.run(
            [
                sys.executable,
                ROOT / "scripts" / "make_digits.py",
                "--fsdd",
                fsdd,
                "--out",
                tmp_path / run,
                "--work",
                tmp_path / f"work-{run}",
                "--num-units",
                "8",
                "--train-strings",
                "12",
                "--test-strings",
                "4",
            ],
            check=True,
        )
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == ["dict.txt", "kmeans.npz", *(f"{s}.tsv" for s in sorted(SUBSETS)), "vocab.json"]
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
