"""Input of which nothing can be used is an error at every stage, which says why, and leaves no output behind."""

import shutil

import numpy as np
import pytest
import soundfile
from support.commands import sld
from support.miniature import make_provenance, make_utterances

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.errors import InputError
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.manifests.audio_manifest import Recording, read_audio_manifest, write_audio_manifest
from sld_user_dir.manifests.unit_manifest import write_manifest
from sld_user_dir.sequences.dataset import SequenceDataset
from sld_user_dir.sequences.manifest_dataset import dataset_from_manifest
from sld_user_dir.vocabulary.joint import JointVocabulary

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
NO_ROWS = "no recordings; make it again with sld audio"
NO_UTTERANCES = "no utterances; make it again, or name another split"
UNUSABLE = "no recording can be used; 2 are left out: "
KMEANS = ["kmeans", "--out", "OUT", "--num-units", 4, "--sample-rate-hz", 8000, "--device", "cpu", "--audio"]
UNITS = ["units", "--out", "OUT", "--kmeans", "k.npz", "--audio"]
STAGES = {
    "a scan of broken files": (["audio", "--root", "broken", "--out", "OUT"], f"{UNUSABLE}zero bytes (2); "),
    "a scan of pointers": (["audio", "--root", "lfs", "--out", "OUT"], f"{UNUSABLE}a Git LFS pointer, not the file"),
    "a scan without transcripts": (["audio", "--root", "mute", "--out", "OUT"], f"{UNUSABLE}no transcript (2); "),
    "a scan of strange names": (
        ["audio", "--root", "strange", "--out", "OUT"],
        "its name contains a tab: rename it (1)",
    ),
    "a list of fairseq's": (["audio", "--root", ".", "--fairseq", "f.tsv", "--out", "OUT"], NO_ROWS),
    "k-means of no rows": ([*KMEANS, "none.tsv"], NO_ROWS),
    "k-means of broken files": ([*KMEANS, "broken.tsv"], f"{UNUSABLE}zero bytes (2); "),
    "units of no rows": ([*UNITS, "none.tsv"], NO_ROWS),
    "units of broken files": ([*UNITS, "broken.tsv"], f"{UNUSABLE}zero bytes (2); "),
    "units without transcripts": ([*UNITS, "mute.tsv"], f"{UNUSABLE}no transcript (2); "),
    "units of an empty fairseq list": ([*UNITS, "f.tsv"], NO_ROWS),
    "subwords": (["subwords", "--train", "empty/train.tsv", "--model", "OUT"], NO_UTTERANCES),
    "a report": (["report", "--units", "empty/train.tsv"], NO_UTTERANCES),
    "import": (["import", "--units", "nothing", "--out", "OUT"], "it is empty"),
    "import of what only one side has": (
        ["import", "--units", "a.units", "--text", "b.text", "--num-units", 9, "--allow-missing", "--out", "OUT"],
        "no utterance has both units and a row of b.text",
    ),
    "export": (["export", "--manifest", "empty/train.tsv", "--format", "textless", "--out", "OUT"], "no utterances"),
    "a vocabulary": (["vocab", "--data", "empty"], NO_UTTERANCES),
    "limits of nothing": (["limit", "--data", "empty", "--split", "train", "--out", "OUT"], NO_UTTERANCES),
    "limits that nothing is within": (
        ["limit", "--data", "full", "--split", "train", "--out", "OUT", "--max-tokens", 3],
        "none of 2 utterances is within the limits",
    ),
    "scores of texts": (["score", "--references", "nothing", "--hypotheses", "nothing"], "nothing: no reference token"),
    "scores of fairseq's": (["score", "nothing"], "no H- line"),
    "transcripts": (
        ["transcribe", "m4a", "--checkpoint", "x"],
        "no recordings found among 1 files (1 of .m4a); convert",
    ),
}


@pytest.fixture
def inputs(tmp_path, monkeypatch, mini):
    """A folder of inputs of which nothing can be used, where the commands run."""
    monkeypatch.chdir(tmp_path)
    noise = (0.1 * np.random.default_rng(0).standard_normal(4000)).astype(np.float32)
    for folder in ("broken", "lfs", "mute", "strange", "m4a", "empty", "full"):
        (tmp_path / folder).mkdir()
    for name in "ab":
        (tmp_path / "broken" / f"{name}.wav").write_bytes(b"")
        (tmp_path / "lfs" / f"{name}.wav").write_bytes(LFS)
        soundfile.write(tmp_path / "mute" / f"{name}.wav", noise, 8000)
        for folder in ("broken", "lfs"):
            (tmp_path / folder / f"{name}.txt").write_text("one")
    (tmp_path / "m4a" / "a.m4a").write_bytes(b"")
    (tmp_path / "strange" / "a\tb.wav").write_bytes(b"")
    (tmp_path / "f.tsv").write_text("/c\n")
    (tmp_path / "nothing").write_text("")
    (tmp_path / "a.units").write_text("a\t1 2 3\n")
    (tmp_path / "b.text").write_text("b\tone\n")
    rows = [Recording(name, tmp_path / "broken" / f"{name}.wav", 4000, 8000, "one", "ann") for name in "ab"]
    write_audio_manifest("none.tsv", [], tmp_path)
    write_audio_manifest("broken.tsv", rows, tmp_path)
    mute = [Recording(name, tmp_path / "mute" / f"{name}.wav", 4000, 8000, "", "ann") for name in "ab"]
    write_audio_manifest("mute.tsv", mute, tmp_path)
    features = FeatureConfig(sample_rate_hz=8000)
    KMeans(np.eye(4, 39, dtype=np.float32), {"features": features.to_dict()}).save("k.npz")
    for folder, count in (("empty", 0), ("full", 2)):
        write_manifest(tmp_path / folder / "train.tsv", make_utterances(count), make_provenance())
        for name in ("dict.txt", "vocab.json"):
            shutil.copy(mini / name, tmp_path / folder)
    return tmp_path


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_usable_is_an_error_at_every_stage(stage, inputs, capsys):
    words, said = STAGES[stage]
    assert sld(*words) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sld ")]
    assert said in line and "; " in line
    assert list(inputs.glob("OUT")) + list(inputs.glob("*/OUT.tsv")) == []
    assert list(inputs.glob("OUT.shards/*/*")) + list(inputs.glob("*.draft*")) == []


def test_recordings_that_were_mended_in_their_places_are_taken(inputs):
    scan = ["audio", "--root", "broken", "--out", "a.tsv"]
    assert sld(*scan) == 1
    for name in "ab":
        shutil.copy(inputs / "mute" / f"{name}.wav", inputs / "broken" / f"{name}.wav")
    assert sld(*scan) == 0
    assert [one.id for one in read_audio_manifest("a.tsv")] == ["a", "b"]


def test_a_recording_that_was_mended_in_its_place_is_taken_beside_others(inputs):
    scan = ["audio", "--root", "broken", "--out", "a.tsv"]
    for name, found in (("a", ["a"]), ("b", ["a", "b"])):
        shutil.copy(inputs / "mute" / f"{name}.wav", inputs / "broken" / f"{name}.wav")
        assert sld(*scan) == 0
        assert [one.id for one in read_audio_manifest("a.tsv")] == found


def test_a_data_set_of_nothing_is_refused(inputs):
    from sld_user_dir.manifests.memory_map import open_manifest

    vocab = JointVocabulary.load(inputs / "empty")
    with pytest.raises(InputError, match=f"train.tsv: {NO_UTTERANCES}"):
        dataset_from_manifest(open_manifest(inputs / "empty" / "train.tsv"), vocab, 64, SequenceDataset)
    full = open_manifest(inputs / "full" / "train.tsv")
    with pytest.raises(InputError, match=r"train.tsv: all 2 utterances are too long for the model; give shorter"):
        dataset_from_manifest(full, vocab, 2, SequenceDataset, skip_too_long=True)
