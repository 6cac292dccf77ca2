"""Disks that take no more, folders that are read-only, two processes at one output: said by name, nothing lost."""

import errno
import multiprocessing
import os
import subprocess
import time
from pathlib import Path

import pytest
import torch

from sld_user_dir.errors import InputError
from sld_user_dir.file_locks import HeldByAnotherError, file_lock
from sld_user_dir.files import (
    OutputError,
    atomic_path,
    filled_directory,
    output_lock,
    publish_directory,
    scratch_directory,
)
from sld_user_dir.pipeline.shards import Job
from sld_user_dir.registration import register
from sld_user_dir.stored_checkpoint import write_stored
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.tokenizers import WordTokenizer


@pytest.mark.parametrize(
    "number, said",
    [
        (errno.ENOSPC, "no space is left on its disk; free some"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "its file system is read-only; write to another folder"),
        (errno.EACCES, "no permission to write there"),
    ],
)
def test_a_disk_that_takes_no_more_is_named_and_what_was_there_stays(number, said, tmp_path):
    out = tmp_path / "train.tsv"
    out.write_text("before")
    with pytest.raises(OutputError) as error, atomic_path(out) as aside:
        aside.write_text("half of i")
        raise OSError(number, os.strerror(number))  # as of a write, which names no file
    assert str(error.value).startswith(f"{out}: cannot be written: ") and said in str(error.value)
    assert str(error.value).endswith("what was there before is intact")
    assert out.read_text() == "before" and os.listdir(tmp_path) == ["train.tsv"]


@pytest.mark.parametrize(
    "text, shown", [("one\nof t7\udce9 here\nthree", r"'of t7\udce9 here'"), ("one\n\ud800", r"'\ud800'")]
)
def test_a_text_that_is_not_utf8_is_named_and_what_was_there_stays(text, shown, tmp_path):
    out = tmp_path / "README.md"
    out.write_text("before")
    with pytest.raises(InputError) as error, atomic_path(out) as aside:
        aside.write_text(text, encoding="utf-8")
    assert str(error.value) == (
        f"{out}: cannot be written: {shown} in it is not UTF-8; rename or correct what it comes from; what was there "
        "before is intact"
    )
    assert out.read_text() == "before" and os.listdir(tmp_path) == ["README.md"]


@pytest.fixture
def disk_calls(monkeypatch):
    """What is forced to the disk, and renamed, in its order: names and kinds."""
    calls: list = []
    for name in ("replace", "rename"):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda a, b, of=original: (calls.append(("named", Path(b).name)), of(a, b))[1])
    forced = os.fsync

    def fsync(descriptor):
        calls.append(("forced", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        forced(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return calls


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, disk_calls):
    """Else a machine that loses its power keeps the name and not the bytes."""
    with atomic_path(tmp_path / "out.tsv") as aside:
        aside.write_text("whole")
    assert disk_calls == [("forced", ".out.tsv.part"), ("named", "out.tsv"), ("forced", tmp_path.name)]


def test_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path, disk_calls):
    with scratch_directory(tmp_path) as filled:
        (filled / "units.bin").write_bytes(b"1")
        publish_directory(filled, tmp_path / "map")
    named = disk_calls.index(("named", "map"))
    assert disk_calls[:named] == [("forced", "units.bin"), ("forced", filled.name)]
    assert disk_calls[named + 1] == ("forced", tmp_path.name)


def test_a_library_fills_a_folder_whole_or_not_at_all(tmp_path):
    """Others of the folder stay; a full disk is named, though a library in Rust tells of it in words."""
    out = tmp_path / "model"
    out.mkdir()
    for name in ("config.json", "mine.txt"):
        (out / name).write_text("before")
    with pytest.raises(OutputError, match=r"model: cannot be written: no space is left"), filled_directory(out) as some:
        (some / "config.json").write_text("half")
        raise ValueError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert {path.name: path.read_text() for path in out.iterdir()} == {"config.json": "before", "mine.txt": "before"}
    with filled_directory(out) as filled:
        (filled / "config.json").write_text("after")
        (filled / "model.safetensors").touch(mode=0o600)
        assert (out / "config.json").read_text() == "before"
    assert {path.name for path in out.iterdir()} == {"config.json", "mine.txt", "model.safetensors"}
    assert (out / "config.json").read_text() == "after" and os.listdir(tmp_path) == ["model"]
    assert (out / "model.safetensors").stat().st_mode == (out / "mine.txt").stat().st_mode


def test_an_export_that_is_killed_leaves_the_one_before(tmp_path, disk_calls):
    """The file without which the others are not read comes in last."""
    with filled_directory(tmp_path / "model") as filled:
        for name in ("config.json", "model.safetensors"):
            (filled / name).write_text("whole")
    named = [name for kind, name in disk_calls if kind == "named"]
    assert named == ["model.safetensors", "config.json"]
    assert disk_calls.index(("forced", "config.json")) < disk_calls.index(("named", "model.safetensors"))


def test_the_file_that_tells_of_a_vocabulary_comes_last(tmp_path, disk_calls):
    """Whoever finds `dict.txt` takes the vocabulary for complete (`sld import-hf`)."""
    JointVocabulary.build(["one two"], 3, WordTokenizer()).save(tmp_path)
    assert [name for kind, name in disk_calls if kind == "named"] == ["vocab.json", "dict.txt"]


def test_what_failed_is_not_forced(tmp_path, disk_calls):
    with pytest.raises(KeyError), atomic_path(tmp_path / "out.tsv"):
        raise KeyError("x")
    assert disk_calls == []


def test_errors_of_what_is_read_meanwhile_pass(tmp_path):
    with pytest.raises(PermissionError, match="secret"), atomic_path(tmp_path / "out"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "secret"))


@pytest.fixture
def mounted(tmp_path):
    """A file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted here by nobody: full and read-only disks are not tried")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_and_a_read_only_disk(mounted):
    out = mounted / "checkpoint_last.pt"
    write_stored(out, {"model": {"w": torch.zeros(10)}})
    before = out.read_bytes()
    with pytest.raises(OutputError, match=r"checkpoint_last\.pt: cannot be written: no space is left"):
        write_stored(out, {"model": {"w": torch.zeros(200_000)}})
    assert out.read_bytes() == before and os.listdir(mounted) == [out.name]
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with pytest.raises(OutputError, match="its file system is read-only"):
        write_stored(out, {"model": {"w": torch.zeros(10)}})
    with pytest.raises(OutputError, match="its file system is read-only"), output_lock(mounted / "new.tsv"):
        pass
    assert out.read_bytes() == before


def _hold(path: Path, ready) -> None:
    with output_lock(path):
        ready.set()
        time.sleep(60)


def test_a_lock_ends_with_its_holder(tmp_path):
    out, lock = tmp_path / "out.tsv", tmp_path / ".out.tsv.lock"
    process = multiprocessing.get_context("fork")
    ready = process.Event()
    holder = process.Process(target=_hold, args=(out, ready))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(HeldByAnotherError), file_lock(lock, wait=False):
        pass
    holder.kill()
    holder.join()
    with output_lock(out):
        assert lock.exists()
    assert not lock.exists()


class CountedJob(Job):
    """Writes down that a shard was made."""

    def inputs(self):
        return {}

    def write_shard(self, index, path):
        with open(self.out.with_suffix(".made"), "a") as made:
            made.write(f"{index}\n")
        time.sleep(0.05)
        with atomic_path(path) as aside:
            aside.write_text("shard")

    def merge(self, paths):
        with atomic_path(self.out) as aside:
            aside.write_text("".join(path.read_text() for path in paths))


def _run(out: Path) -> None:
    from sld_user_dir.pipeline.executor import ExecutorConfig, run_job

    run_job(CountedJob(out, 3), ExecutorConfig(shards=3))


def test_two_stages_at_one_output_do_the_work_once(tmp_path):
    out = tmp_path / "units.tsv"
    processes = [multiprocessing.get_context("fork").Process(target=_run, args=(out,)) for _ in range(3)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
    assert [one.exitcode for one in processes] == [0, 0, 0]
    assert sorted(out.with_suffix(".made").read_text().split()) == ["0", "1", "2"]
    assert out.read_text() == "shard" * 3
    assert sorted(os.listdir(tmp_path)) == ["units.made", "units.tsv", "units.tsv.job"]


def test_scratch_that_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "partial-abc").mkdir()
    (tmp_path / ".partial-abc.lock").touch()
    with scratch_directory(tmp_path) as first, scratch_directory(tmp_path) as second:
        assert first.is_dir() and second.is_dir()  # what is in use stays
        assert not (tmp_path / "partial-abc").exists()
    assert not list(tmp_path.iterdir())


def test_two_trainings_with_one_folder(tmp_path):
    register()
    from sld_user_dir.fairseq_patches.whole_checkpoints import LOCK, hold_save_dir

    process = multiprocessing.get_context("fork")
    ready = process.Event()
    holder = process.Process(target=_train, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(InputError, match=r"another training writes its checkpoints there; wait"):
        hold_save_dir(tmp_path)
    holder.kill()
    holder.join()
    hold_save_dir(tmp_path)
    hold_save_dir(tmp_path)  # the next training of this process
    assert (tmp_path / LOCK).exists()


def _train(save_dir: Path, ready) -> None:
    from sld_user_dir.fairseq_patches.whole_checkpoints import hold_save_dir

    hold_save_dir(save_dir)
    ready.set()
    time.sleep(60)
