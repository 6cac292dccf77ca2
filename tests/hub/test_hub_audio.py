"""Recordings to text by a trained model, and that nothing else is printed on the way."""

import json
import os
from pathlib import Path

import pytest
from support.commands import sld
from support.fresh_process import run_python

from sld_user_dir import hub


@pytest.fixture(scope="module")
def model(checkpoint, mini):
    return hub.load(checkpoint, data=mini, device="cpu")


def test_audio_becomes_the_units_of_the_manifest(spoken):
    from sld_user_dir.manifests.unit_manifest import read_manifest

    folder, recordings = spoken
    model = hub.load(folder / "save" / "checkpoint_last.pt", data=folder / "data")
    files = [r.path for r in recordings]
    expected = [u.units.tolist() for u in read_manifest(folder / "data" / "train.tsv")]
    assert model.units_of(files) == expected
    texts = model.transcribe_units(expected, beam=2, max_len_b=5)
    assert model.transcribe(files, beam=2, max_len_b=5) == texts
    assert isinstance(model.transcribe(str(files[0]), beam=2, max_len_b=5), str)


def test_audio_that_cannot_be_used(spoken, tmp_path, model):
    from sld_user_dir.clustering.kmeans import KMeans
    from sld_user_dir.features.waveform import AudioError

    folder, _ = spoken
    path = folder / "save" / "checkpoint_last.pt"
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"x\.wav: "):
        hub.load(path, data=folder / "data").transcribe(tmp_path / "x.wav")
    with pytest.raises(ValueError, match=r"kmeans\.npz: no k-means file.*hub\.load\(…, kmeans=…\)"):
        model.transcribe(Path("x.wav"))
    kmeans = KMeans.load(folder / "data" / "kmeans.npz")
    KMeans(kmeans.centroids + 1, kmeans.metadata).save(tmp_path / "other.npz")
    other = hub.load(path, data=folder / "data", kmeans=tmp_path / "other.npz")
    with pytest.raises(ValueError, match=r"other\.npz: it makes units .*, but the model was trained on "):
        other.transcribe(tmp_path / "x.wav")


def test_transcribe_goes_on_after_a_broken_file(spoken, tmp_path, capsys):
    folder, recordings = spoken
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    options = ["--checkpoint", str(folder / "save" / "checkpoint_last.pt"), "--data", str(folder / "data")]
    options += ["--beam", "2", "--max-len-b", "5"]
    first, last = str(recordings[0].path), str(recordings[2].path)
    assert sld("transcribe", first, tmp_path / "broken.wav", last, *options) == 1
    out, err = capsys.readouterr()
    model = hub.load(folder / "save" / "checkpoint_last.pt", data=folder / "data")
    expected = [f"{path}\t{model.transcribe(path, beam=2, max_len_b=5)}" for path in (first, last)]
    assert out.splitlines()[-2:] == expected and "broken.wav" in err
    other = ["--kmeans", str(tmp_path / "none.npz")]
    assert sld("transcribe", first, *options, *other) == 1
    assert "none.npz" in capsys.readouterr().err


@pytest.mark.parametrize("name, shown", [(os.fsdecode(b"caf\xe9.wav"), r"caf\xe9.wav"), ("a\tb.wav", r"a\tb.wav")])
def test_transcribe_takes_names_that_no_table_can_hold(spoken, tmp_path, capsys, name, shown):
    folder, recordings = spoken
    (tmp_path / name).write_bytes(recordings[0].path.read_bytes())
    options = ["--checkpoint", folder / "save" / "checkpoint_last.pt", "--data", folder / "data", "--max-len-b", 5]
    options += ["--json", tmp_path / "out.json", "--beam", 2]
    assert sld("transcribe", tmp_path / name, *options) == 0
    (answer,) = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert answer["path"] == str(tmp_path / name)
    assert f"{tmp_path}/{shown}\t{answer['text']}" in capsys.readouterr().out


TRANSCRIBE = """
import json, sys
from sld_user_dir import hub
model = hub.load(sys.argv[1], data=sys.argv[2], device="cpu")
print(json.dumps(model.transcribe(sys.argv[3:], beam=2, max_len_b=5)))
"""


def test_nothing_but_the_transcripts_is_printed(spoken):
    """No warning of fairseq's, torch's or ours, from a fresh process with Python's own filters."""
    folder, recordings = spoken
    checkpoint, data = folder / "save" / "checkpoint_last.pt", folder / "data"
    files = [str(r.path) for r in recordings]
    ended = run_python(TRANSCRIBE, checkpoint, data, *files)
    expected = hub.load(checkpoint, data=data, device="cpu").transcribe(files, beam=2, max_len_b=5)
    assert ended.value == expected and ended.stdout.count("\n") == 1 and ended.stderr == ""
    words = ["transcribe", *files, "--checkpoint", checkpoint, "--data", data, "--beam", 2, "--max-len-b", 5]
    ended = run_python("import sys\nfrom sld_user_dir.commands import main\nsys.exit(main())", *words)
    assert ended.stdout.splitlines() == [f"{path}\t{text}" for path, text in zip(files, expected)]
    assert ended.stderr == ""


def test_strangers_are_heard_by_the_hubs_own_units(spoken):
    """The demo's listeners make units of recordings as the hub does, and name an encoder that is not where they say."""
    from sld_user_dir.errors import InputError
    from sld_user_dir.experiment.strangers import BEAM, MAX_WORDS, Listener

    folder, recordings = spoken
    model = hub.load(folder / "save" / "checkpoint_last.pt", data=folder / "data", device="cpu")
    files = [one.path for one in recordings]
    expected = model.transcribe(files, beam=BEAM, max_len_b=MAX_WORDS)
    assert Listener("mfcc", "sld", model, folder / "data").of_audio(files, Path("ignored")) == expected
    with pytest.raises(InputError, match="moved"):
        Listener("neural", "sld", model, folder / "data").of_audio(files, folder / "moved")
