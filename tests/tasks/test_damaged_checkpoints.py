"""A checkpoint that is not whole is named with the way out by everything that reads one: kind of damage × reader."""

import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils
from support.miniature import TRAIN_OPTIONS, fairseq_command

from sld_user_dir import hub
from sld_user_dir.errors import InputError
from sld_user_dir.models.fairseq_encoders import read_checkpoint
from sld_user_dir.stored_checkpoint import damage_of, read_stored, refuse_damaged
from sld_user_dir.tasks.start_checkpoint import state_to_go_on_from

OPTIONS = {"restore_file": "checkpoint_last.pt", "continue_once": None, "finetune_from_model": None}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def options_of(save_dir, **changes):
    """fairseq's options of checkpoints."""
    return SimpleNamespace(save_dir=str(save_dir), checkpoint_suffix="", **{**OPTIONS, **changes})


def flipped(whole):
    """One bit of a weight is another."""
    weights = torch.arange(64, dtype=torch.float32).numpy().tobytes()
    place = whole.index(weights) + 100
    return whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]


DAMAGE = {
    "cut at once": (lambda whole: whole[:3], "it does not begin as a file of torch.save does"),
    "cut early": (lambda whole: whole[:1000], "its end is missing or overwritten"),
    "cut in the middle": (lambda whole: whole[: len(whole) // 2], "its end is missing or overwritten"),
    "cut at the end": (lambda whole: whole[:-30], "its end is missing or overwritten"),
    "empty": (lambda whole: b"", "the file is empty"),
    "another file": (lambda whole: bytes(range(1, 256)) * 20, "it does not begin as a file of torch.save does"),
    "text": (lambda whole: b"this is text\n" * 100, "it does not begin as a file of torch.save does"),
    "a flipped bit": (flipped, "the checksum of its part"),
    "a pointer of Git LFS": (lambda whole: POINTER, "a Git LFS pointer, not the file itself"),
}


def resumed(path):
    state_to_go_on_from(options_of(path.parent))


def fine_tuned(path):
    (path.parent / "runs").mkdir()
    state_to_go_on_from(options_of(path.parent / "runs", finetune_from_model=str(path)))


READERS = {
    "resuming": (resumed, "move it away to train from scratch, or go on from another by --restore-file (beside it: "),
    "fine-tuning": (fine_tuned, "or go on from another by --restore-file (beside it: "),
    "decoding": (checkpoint_utils.load_checkpoint_to_cpu, "or give another (beside it: checkpoint_best.pt)"),
    "an encoder": (read_checkpoint, "fetch it again"),
}


@pytest.fixture
def whole(tmp_path):
    """A checkpoint, with another beside it."""
    path = tmp_path / "checkpoint_last.pt"
    state = {"model": {"w": torch.arange(64, dtype=torch.float32)}, "args": None, "cfg": None}
    torch.save({**state, "task_state": {"vocabulary": "x"}}, path)
    shutil.copy(path, tmp_path / "checkpoint_best.pt")
    return path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_with_the_way_out(kind, reader, whole):
    damage, said = DAMAGE[kind]
    whole.write_bytes(damage(whole.read_bytes()))
    read, remedy = READERS[reader]
    with pytest.raises(InputError) as error:
        read(whole)
    assert str(error.value).startswith(f"{whole}: ") and said in str(error.value)
    assert (remedy in str(error.value)) is ("LFS" not in kind)


@pytest.mark.parametrize("kind", sorted(set(DAMAGE) - {"a flipped bit", "a pointer of Git LFS"}))
def test_what_reads_the_entries_alone_names_damage_too(kind, whole):
    damage, said = DAMAGE[kind]
    whole.write_bytes(damage(whole.read_bytes()))
    with pytest.raises(InputError) as error:
        read_stored(whole)
    assert f"{whole}: no checkpoint that torch reads ({said}" in str(error.value)


def test_other_bytes_are_looked_at_without_an_error_and_in_the_weights_always_found(whole):
    """Anywhere in the file: of damage to the archive's own tables zipfile says a lot."""
    content, rng = whole.read_bytes(), np.random.default_rng(0)
    weights = torch.arange(64, dtype=torch.float32).numpy().tobytes()
    start, found = content.index(weights), 0
    for _ in range(300):
        place, others = int(rng.integers(4, len(content) - 8)), rng.bytes(int(rng.integers(1, 9)))
        changed = content[:place] + others + content[place + len(others) :]
        whole.write_bytes(changed)
        damage = damage_of(whole)
        found += damage is not None
        assert damage or changed[start : start + len(weights)] == weights
    assert found > 200


def test_whole_checkpoints_of_all_forms_pass(whole, tmp_path):
    refuse_damaged(whole, "")
    old = tmp_path / "old.pt"
    torch.save({"model": {}}, old, _use_new_zipfile_serialization=False)
    refuse_damaged(old, "")


def test_what_is_no_damage_stays_with_fairseq(tmp_path):
    with pytest.raises(FileNotFoundError):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "missing.pt"))


def test_a_start_that_is_not_there_is_no_start_from_scratch(tmp_path):
    with pytest.raises(InputError, match=r"--restore-file .*gone\.pt: no such checkpoint; check the path"):
        state_to_go_on_from(options_of(tmp_path, restore_file=str(tmp_path / "gone.pt")))
    assert state_to_go_on_from(options_of(tmp_path, restore_file="s3://bucket/gone.pt")) == (None, {})


OTHER_CONTENT = {
    "a list": ([1], "no checkpoint, but a list"),
    "a tensor": (torch.zeros(3), "no checkpoint, but a Tensor"),
    "other entries": ({"a": 1, "b": 2, 3: 4, "d": 5}, "no checkpoint: it holds no model, but a, b, 3"),
    "no entry": ({}, "no checkpoint: it holds no model, but nothing"),
}


@pytest.mark.parametrize("reader", ["resuming", "decoding"])
@pytest.mark.parametrize("kind", OTHER_CONTENT)
def test_what_torch_reads_and_is_no_checkpoint_is_named_with_the_way_out(kind, reader, whole):
    content, said = OTHER_CONTENT[kind]
    torch.save(content, whole)
    read, remedy = READERS[reader]
    with pytest.raises(InputError) as error:
        read(whole)
    remedy = remedy if reader == "resuming" else "give one of fairseq-train's (beside it: checkpoint_best.pt)"
    assert str(error.value).startswith(f"{whole}: {said}; ") and remedy in str(error.value)


def test_a_model_without_what_fairseq_needs_is_not_blamed_on_torch(whole):
    torch.save({"model": {}}, whole)
    with pytest.raises(
        InputError, match=r"no checkpoint that fairseq reads \('best_loss'\); give one of fairseq-train's"
    ):
        checkpoint_utils.load_checkpoint_to_cpu(whole)


NO_FIT = "its weights do not fit its own model: "
WRONG_WEIGHTS = {
    "a key is missing": NO_FIT + 'Missing key(s) in state_dict: "decoder.layers.0.fc1.bias"; restore it from a copy',
    "a shape": NO_FIT + "size mismatch for decoder.layers.0.fc1.bias: copying a param with shape",
    "of no size": NO_FIT + "decoder.version holds no number; restore it from a copy",
    "NaN": "its weight decoder.layers.0.fc1.bias holds NaN or infinity; give one from before its training went wrong",
    "infinity": "its weight decoder.layers.0.fc1.bias holds NaN or infinity",
}


@pytest.mark.parametrize("kind", WRONG_WEIGHTS)
def test_weights_that_do_not_fit_are_named_with_their_checkpoint(kind, mini, checkpoint, tmp_path):
    stored = torch.load(checkpoint, weights_only=True)
    weights, name = stored["model"], "decoder.layers.0.fc1.bias"
    if kind == "a key is missing":
        del weights[name]
    elif kind == "a shape":
        weights[name] = weights[name][1:].clone()
    elif kind == "of no size":
        weights["decoder.version"] = torch.zeros(0)
    else:
        weights[name][1] = float("nan" if kind == "NaN" else "inf")
    torch.save(stored, tmp_path / "wrong.pt")
    with pytest.raises(InputError) as error:
        hub.load(f"{checkpoint}:{tmp_path / 'wrong.pt'}", data=mini, device="cpu")
    assert str(error.value).startswith(f"{tmp_path / 'wrong.pt'}: {WRONG_WEIGHTS[kind]}")


def test_commands_say_so_in_their_last_line(mini, checkpoint, tmp_path):
    last = tmp_path / "checkpoint_last.pt"
    last.write_bytes(checkpoint.read_bytes()[:5000])
    options = [*TRAIN_OPTIONS, "--criterion", "sld", "--max-update", 6, "--save-dir", tmp_path]
    for done in (
        fairseq_command("train", mini, *options, check=False),
        fairseq_command("generate", mini, "--path", last, "--gen-subset", "test", check=False),
    ):
        assert done.returncode != 0
        assert f"{last}: a damaged checkpoint: its end is missing" in done.stderr.strip().splitlines()[-1]


def test_a_data_directory_that_moved_is_asked_for_by_name(mini, checkpoint, tmp_path):
    stored = torch.load(checkpoint, weights_only=True)
    stored["cfg"]["task"]["data"] = str(tmp_path / "old")
    torch.save(stored, tmp_path / "moved.pt")
    with pytest.raises(InputError) as error:
        hub.load(tmp_path / "moved.pt", device="cpu")
    assert f"moved.pt: the data directory of its training, {tmp_path / 'old'}, is not there; name" in str(error.value)
    assert "data=" in str(error.value) and "--data" in str(error.value)
    with pytest.raises(InputError, match=r"nowhere: no such folder; name the data directory.*data="):
        hub.load(tmp_path / "moved.pt", data=tmp_path / "nowhere", device="cpu")
    os.symlink(mini, tmp_path / "old")
    assert hub.load(tmp_path / "moved.pt", device="cpu").vocab.num_units == 12
