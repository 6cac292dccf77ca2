"""Cells side by side: retries, failures that stay visible, and going on after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from support.miniature import ROOT
from support.sweeps import row_of, write_plan

from sld_user_dir.errors import InputError
from sld_user_dir.experiment.training_log import Curves
from sld_user_dir.sweep import cell_run, scheduler
from sld_user_dir.sweep.cell_run import ROWS, cell_directory
from sld_user_dir.sweep.cells import cells_of
from sld_user_dir.sweep.rows import add_rows, read_rows, unfinished
from sld_user_dir.sweep.scheduler import SchedulerConfig, log_of, run_cells


class Job:
    """A cell that ends at once."""

    def __init__(self, status):
        self.status = status

    def poll(self):
        return self.status

    def stop(self):
        raise AssertionError("it had ended")


@pytest.fixture
def plan(tmp_path):
    return write_plan(tmp_path)


def fake(monkeypatch, plan, out, failures):
    """Cells that write their rows; those in `failures` fail so many times first."""
    started = []

    def start(cell):
        started.append(cell.name)
        directory = cell_directory(cell, out)
        directory.mkdir(parents=True, exist_ok=True)
        log_of(directory).write_text("one line\nthe reason\n", encoding="utf-8")
        if started.count(cell.name) <= failures.get(cell.name, 0):
            return Job(1)
        (directory / ROWS).write_text(json.dumps([row_of(plan, cell)]), encoding="utf-8")
        return Job(0)

    monkeypatch.setattr(scheduler, "_starter", lambda *_: start)
    return started


def test_a_cell_that_fails_once_is_tried_again(monkeypatch, plan, tmp_path):
    started = fake(monkeypatch, plan, tmp_path, {"small/sld/1": 1})
    rows = tmp_path / "rows.jsonl"
    assert run_cells(plan, cells_of(plan), tmp_path, rows, SchedulerConfig(), poll_seconds=0) == []
    assert len(started) == 5 and started[-1] == "small/sld/1"
    assert unfinished(plan, cells_of(plan), read_rows(rows)) == []


def test_a_cell_that_fails_always_is_a_row_that_says_why(monkeypatch, plan, tmp_path):
    fake(monkeypatch, plan, tmp_path, {"small/sld/1": 99})
    rows = tmp_path / "rows.jsonl"
    failed = run_cells(plan, cells_of(plan), tmp_path, rows, SchedulerConfig(tries=3), poll_seconds=0)
    assert [cell.name for cell in failed] == ["small/sld/1"]
    (row,) = [row for row in read_rows(rows) if row["status"] == "failed"]
    assert row["cell"] == "small/sld/1" and row["reason"] == "one line\nthe reason"
    assert unfinished(plan, cells_of(plan), read_rows(rows)) == failed
    add_rows(rows, [row_of(plan, failed[0])])
    assert all(row["status"] == "done" for row in read_rows(rows))


def test_rows_of_another_plan_are_run_again(plan, tmp_path):
    rows = [row_of(plan, cell) for cell in cells_of(plan)]
    other = write_plan(tmp_path, generate={"beam": 4})
    assert unfinished(plan, cells_of(plan), rows) == []
    assert unfinished(other, cells_of(other), rows) == cells_of(other)


def test_a_line_that_is_no_row_is_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"rows.jsonl:1: no row of a sweep"):
        read_rows(tmp_path / "rows.jsonl")


def test_an_unknown_executor_is_refused(plan, tmp_path):
    with pytest.raises(InputError, match="--executor moon"):
        run_cells(plan, cells_of(plan), tmp_path, tmp_path / "rows.jsonl", SchedulerConfig(executor="moon"))


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_gives_the_rows_of_an_undisturbed_one(plan, tmp_path):
    """The real command, twice: once killed while its only cell trains, once left alone."""
    command = [sys.executable, "-m", "sld_user_dir", "sweep", str(plan.path), "--only", "small/sld/1", "--jobs", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    out = ["--out", str(tmp_path / "killed"), "--rows", str(tmp_path / "killed.jsonl")]
    child = subprocess.Popen([*command, *out], cwd=tmp_path, env=environment, start_new_session=True)
    log = tmp_path / "killed" / "small" / "sld" / "1" / "train.out"
    deadline = time.time() + 120
    while not log.exists() and child.poll() is None and time.time() < deadline:
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert log.exists() and not (tmp_path / "killed.jsonl").exists()
    for name in ("killed", "undisturbed"):
        out = ["--out", str(tmp_path / name), "--rows", str(tmp_path / f"{name}.jsonl")]
        done = subprocess.run(
            [*command, *out], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
    killed, undisturbed = (read_rows(tmp_path / f"{name}.jsonl") for name in ("killed", "undisturbed"))
    passing = ("finished", "train_seconds", "cpu_seconds", "decode_seconds", "commands", "commit", "sources")
    strip = [[{k: v for k, v in row.items() if k not in passing} for row in rows] for rows in (killed, undisturbed)]
    assert strip[0] == strip[1] and len(killed) == 1
    assert "RESULTS.md" in done.stdout


@pytest.mark.parametrize(("done", "lost", "status"), [(False, False, None), (False, True, 1), (True, True, 0)])
def test_a_cell_that_slurm_has_killed_is_not_waited_for(done, lost, status):
    job = SimpleNamespace(done=lambda: done, exception=lambda: None, result=lambda: 0, job_id="7")
    queue = SimpleNamespace(has_lost=lambda job_id: lost and job_id == "7")
    assert scheduler._SlurmJob(job, queue).poll() == status


def test_another_test_set_leaves_what_is_known_of_a_training(monkeypatch, plan, tmp_path):
    """Training and decoding are stand-ins; the second call decodes only, and its rows keep the training's time."""
    (cell, *_) = cells_of(plan)
    monkeypatch.setattr(cell_run, "train_all", lambda *_, **__: None)
    monkeypatch.setattr(cell_run, "decode_all", lambda made, *_, **__: dict.fromkeys([("1", "test_asterisk")], 1.0))
    monkeypatch.setattr(cell_run, "scores", lambda *_: {"test_set": "test_asterisk"})
    monkeypatch.setattr(cell_run, "read_curves", lambda path: Curves([{"num_updates": 2}], []))
    (first,) = cell_run.run_cell(plan, cell, tmp_path, threads=1)
    monkeypatch.setattr(cell_run, "version", lambda: {"commit": "later", "sources": "later"})
    (nothing_new,) = cell_run.run_cell(plan, cell, tmp_path, threads=1)
    assert "remark" not in first and "remark" not in nothing_new
    monkeypatch.setattr(cell_run, "fingerprint", lambda *_: "with another test set")
    (again,) = cell_run.run_cell(plan, cell, tmp_path, threads=1)
    assert (again["commit"], again["train_seconds"]) == (first["commit"], first["train_seconds"])
    assert again["remark"] == "test sets decoded at later"
    (kept,) = cell_run.run_cell(plan, cell, tmp_path, threads=1)
    assert kept["remark"] == again["remark"]
