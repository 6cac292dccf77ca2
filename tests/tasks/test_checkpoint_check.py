"""A training that goes on from a checkpoint: the same vocabulary and units, or a plain error before it starts."""

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.miniature import TRAIN_OPTIONS, fairseq_command, make_provenance, make_utterances, train
from support.tasks import setup

from sld_user_dir.manifests.unit_manifest import ManifestError, write_manifest
from sld_user_dir.tasks.start_checkpoint import start_of_training, state_to_go_on_from, stored_task_state

OTHER = make_provenance(kmeans="sha256:1")


@pytest.fixture
def other_units(mini, tmp_path) -> Path:
    """`mini`'s words in units of another k-means."""
    data = tmp_path / "other_units"
    for split in ("train", "valid"):
        write_manifest(data / f"{split}.tsv", make_utterances(9, f"{split}-"), OTHER)
    for name in ("dict.txt", "vocab.json"):
        shutil.copy(mini / name, data)
    return data


@pytest.fixture
def other_words(mini, tmp_path) -> Path:
    """`mini` with another word in the vocabulary, at the same place: a model of the same shape."""
    data = tmp_path / "other_words"
    shutil.copytree(mini, data)
    (data / "dict.txt").write_text((data / "dict.txt").read_text().replace("zero", "null"))
    return data


def refused(data: Path, save_dir: Path, *options: object) -> str:
    """The last line of a fairseq-train that must stop."""
    arguments = [*TRAIN_OPTIONS, "--criterion", "sld", "--max-update", 8, "--save-dir", save_dir, *options]
    done = fairseq_command("train", data, *arguments, check=False)
    assert done.returncode != 0
    assert "Error" not in done.stderr.split("Traceback")[0]
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("how", ["resume", "finetune"])
def test_other_units_are_refused_by_name(checkpoint, other_units, tmp_path, how):
    save_dir, path, options = tmp_path / "save", checkpoint, ["--finetune-from-model", checkpoint]
    if how == "resume":
        save_dir.mkdir()
        path, options = Path(shutil.copy(checkpoint, save_dir / "checkpoint_last.pt")), []
    message = refused(other_units, save_dir, *options)
    assert OTHER.fingerprint in message and make_provenance().fingerprint in message
    assert "valid.tsv" in message and f"the checkpoint {path}" in message
    assert "extract these units again" in message and "another --save-dir" in message


def test_other_units_are_refused_without_validation_too(checkpoint, other_units):
    """In process: the training data is loaded after the weights, and no validation data before."""
    config, task = setup(other_units, "--restore-file", checkpoint)
    task.build_criterion(config.criterion)
    with pytest.raises(
        ManifestError, match=r"train\.tsv: its units are .*, but the checkpoint /.*/checkpoint_last\.pt"
    ):
        task.load_dataset("train")


def test_another_vocabulary_is_refused_by_name(checkpoint, other_words, tmp_path):
    message = refused(other_words, tmp_path / "save", "--finetune-from-model", checkpoint)
    assert message.startswith(f"sld_user_dir.errors.InputError: the checkpoint {checkpoint}: its vocabulary is ")
    assert f"that of {other_words} is " in message and "another --save-dir" in message


def test_the_same_units_go_on(checkpoint, mini, tmp_path):
    lines = train(mini, tmp_path, "--finetune-from-model", checkpoint, updates=2)
    assert any("loading pretrained model from" in line for line in lines)
    state = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)["task_state"]
    assert state == stored_task_state(checkpoint)


def test_validation_does_not_look_into_the_save_directory(checkpoint, mini, tmp_path):
    """A checkpoint remembers its save directory, where another model may lie by now."""
    state = torch.load(checkpoint, weights_only=True)
    assert state["cfg"]["task"]["save_dir"] == str(checkpoint.parent)
    state["cfg"]["task"]["save_dir"] = str(tmp_path)
    torch.save(state, tmp_path / "model.pt")
    torch.save({"task_state": {"vocabulary": "of another model"}}, tmp_path / "checkpoint_last.pt")
    assert state_to_go_on_from(options_of(tmp_path))[1]
    fairseq_command("validate", mini, "--path", tmp_path / "model.pt", "--valid-subset", "valid", "--max-tokens", 200)


def options_of(save_dir, **changes):
    fields = {"save_dir": str(save_dir), "restore_file": "checkpoint_last.pt", "continue_once": None}
    return SimpleNamespace(**{**fields, "finetune_from_model": None, "checkpoint_suffix": "", **changes})


def test_which_checkpoint_training_starts_from(tmp_path):
    def touch(name):
        (tmp_path / name).touch()
        return tmp_path / name

    given = {"finetune_from_model": str(touch("base.pt"))}
    assert start_of_training(options_of(tmp_path)) is None
    assert start_of_training(options_of(tmp_path, **given)) == tmp_path / "base.pt"
    assert start_of_training(options_of(tmp_path, **given, continue_once=str(touch("c.pt")))) == tmp_path / "c.pt"
    shard = touch("checkpoint_last-shard0.pt")
    assert start_of_training(options_of(tmp_path, **given)) == shard
    last = touch("checkpoint_last.pt")
    assert start_of_training(options_of(tmp_path, **given)) == last
    assert start_of_training(options_of(tmp_path, restore_file=str(tmp_path / "base.pt"))) == tmp_path / "base.pt"
    assert start_of_training(options_of(tmp_path, restore_file="missing.pt")) is None
    assert start_of_training(options_of(tmp_path, checkpoint_suffix="_b")) is None
    assert start_of_training(options_of(tmp_path, checkpoint_suffix="_b", **given)) == tmp_path / "base.pt"
    unresolved = options_of("${checkpoint.save_dir}", restore_file="${checkpoint.restore_file}")
    assert start_of_training(unresolved) is None


def test_only_the_state_is_read_from_disk(checkpoint, monkeypatch):
    mapped = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: mapped.append(k["mmap"]) or load(*a, **k))
    assert stored_task_state(checkpoint)["unit_provenance"]["kmeans"] == make_provenance().kmeans
    assert mapped == [True]


def test_a_checkpoint_that_cannot_be_read_safely_is_left_to_fairseq(tmp_path, caplog):
    path = tmp_path / "checkpoint_last.pt"
    torch.save({"args": SimpleNamespace(), "task_state": {"vocabulary": "x"}}, path)
    with caplog.at_level(logging.WARNING):
        assert state_to_go_on_from(options_of(tmp_path)) == (path, {})
    assert f"{path}: its vocabulary and units are not checked" in caplog.text


def test_checkpoints_of_other_tasks_have_nothing_to_check(tmp_path):
    torch.save({"task_state": {"something": 1}}, tmp_path / "checkpoint_last.pt")
    assert state_to_go_on_from(options_of(tmp_path))[1] == {}
    torch.save({"model": {}}, tmp_path / "checkpoint_last.pt")
    assert state_to_go_on_from(options_of(tmp_path))[1] == {}
