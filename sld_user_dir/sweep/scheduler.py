"""Runs the cells of a sweep side by side, here or on SLURM; a cell that fails is tried again, and never hidden."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Protocol, Sequence

from sld_user_dir.errors import InputError
from sld_user_dir.experiment.child_process import ending_with_parent
from sld_user_dir.files import parse_json, read_log, read_text
from sld_user_dir.pipeline.executor import SlurmQueue, slurm_parameters
from sld_user_dir.sweep.cell_run import ROWS, cell_directory
from sld_user_dir.sweep.cells import Cell, fingerprint
from sld_user_dir.sweep.plan_file import SweepPlan
from sld_user_dir.sweep.rows import SweepRow, add_rows

logger = logging.getLogger(__name__)
EXECUTORS = ("here", "slurm")
TAIL_LINES = 12


@dataclass
class SchedulerConfig:
    """Where the cells run, and how many at a time."""

    jobs: int = 2
    """cells side by side, here or in SLURM's queue"""
    threads: int = 1
    """threads of a cell: with one, a seed gives the same numbers again"""
    tries: int = 2
    """how often a cell is tried before it counts as failed"""
    executor: str = "here"
    """`here` (processes of this machine) or `slurm` (through submitit)"""
    partition: Optional[str] = None
    """SLURM partition"""
    minutes: int = 600
    """time limit of a cell on SLURM"""
    memory_gb: int = 16
    """memory of a cell on SLURM"""
    gpus: int = 0
    """GPUs of a cell on SLURM"""

    def __post_init__(self) -> None:
        for option, value, least in (
            *(("jobs", self.jobs, 1), ("threads", self.threads, 1), ("tries", self.tries, 1)),
            *(("minutes", self.minutes, 1), ("memory-gb", self.memory_gb, 1), ("gpus", self.gpus, 0)),
        ):
            if value < least:
                raise InputError(f"--{option} {value}", "no cell can run with this", f"take {least} or more")


class _Running(Protocol):
    """A started cell: None while it runs, then its exit status."""

    def poll(self) -> Optional[int]: ...

    def stop(self) -> None: ...


def run_cells(
    plan: SweepPlan, cells: Sequence[Cell], out: Path, rows: Path, config: SchedulerConfig, poll_seconds: float = 1.0
) -> list[Cell]:
    """Run the cells and add what they give to the rows as they come.

    Returns:
        the cells that failed, whose rows say why.

    Raises:
        InputError: no such executor.
    """
    start = _starter(plan, out, config)
    waiting, running, tries = deque(cells), dict[Cell, _Running](), Counter[Cell]()
    failed: list[Cell] = []
    done = 0
    try:
        while waiting or running:
            while waiting and len(running) < config.jobs:
                cell = waiting.popleft()
                tries[cell] += 1
                running[cell] = start(cell)
                logger.info("%s: started", cell.name)
            time.sleep(poll_seconds)
            for cell, job in list(running.items()):
                status = job.poll()
                if status is None:
                    continue
                del running[cell]
                new = _rows_of(plan, cell, out) if status == 0 else []
                if new:
                    add_rows(rows, new)
                    done += 1
                    logger.info("%s: done, %d of %d", cell.name, done, len(cells))
                elif tries[cell] < config.tries:
                    logger.info("%s: failed, tried again at the end", cell.name)
                    waiting.append(cell)
                else:
                    failed.append(cell)
                    add_rows(rows, [_failure(plan, cell, out)])
                    logger.info("%s: failed; %s says why", cell.name, log_of(cell_directory(cell, out)))
    finally:
        for job in running.values():
            job.stop()
    return failed


def _starter(plan: SweepPlan, out: Path, config: SchedulerConfig) -> Callable[[Cell], _Running]:
    if config.executor not in EXECUTORS:
        raise InputError(f"--executor {config.executor}", "no such executor", f"choose one of {', '.join(EXECUTORS)}")

    def command(cell: Cell) -> list[str]:
        module = "sld_user_dir.sweep.cell_run"
        return [sys.executable, "-m", module, str(plan.path), cell.name, str(out), str(config.threads)]

    if config.executor == "here":
        return lambda cell: _Process(command(cell), cell_directory(cell, out))
    executor, queue = _slurm(out, config), SlurmQueue()
    return lambda cell: _SlurmJob(executor.submit(_call, command(cell), cell_directory(cell, out)), queue)


class _Process:
    """A cell as a process of this machine."""

    def __init__(self, command: Sequence[str], directory: Path) -> None:
        self.child = subprocess.Popen(
            command, stdout=_log(directory), stderr=subprocess.STDOUT, preexec_fn=ending_with_parent()
        )

    def poll(self) -> Optional[int]:
        return self.child.poll()

    def stop(self) -> None:
        self.child.terminate()
        self.child.wait()


class _SlurmJob:
    """A cell as a job of submitit's."""

    def __init__(self, job: Any, queue: SlurmQueue) -> None:
        self.job, self.queue = job, queue

    def poll(self) -> Optional[int]:
        if not self.job.done():
            return 1 if self.queue.has_lost(self.job.job_id) else None
        return 1 if self.job.exception() is not None else self.job.result()

    def stop(self) -> None:
        self.job.cancel()


def _slurm(out: Path, config: SchedulerConfig) -> Any:
    import submitit

    executor = submitit.AutoExecutor(folder=out / "submitit", cluster="slurm")
    wanted = slurm_parameters(config.memory_gb, config.threads, config.gpus, config.partition)
    executor.update_parameters(name="sld-sweep", timeout_min=config.minutes, **wanted)
    return executor


def _call(command: Sequence[str], directory: Path) -> int:
    """What a SLURM job does."""
    return subprocess.run(command, stdout=_log(directory), stderr=subprocess.STDOUT, check=False).returncode


def log_of(directory: Path) -> Path:
    """The log of a cell: beside its folder, which the runner puts aside where its command has changed."""
    return directory.parent / f"{directory.name}.log"


def _log(directory: Path) -> Any:
    directory.parent.mkdir(parents=True, exist_ok=True)
    return log_of(directory).open("ab")


def _rows_of(plan: SweepPlan, cell: Cell, out: Path) -> list[SweepRow]:
    path = cell_directory(cell, out) / ROWS
    rows = parse_json(read_text(path)) if path.exists() else []
    return [row for row in rows if row["fingerprint"] == fingerprint(plan, cell)]


def _failure(plan: SweepPlan, cell: Cell, out: Path) -> SweepRow:
    lines = read_log(log_of(cell_directory(cell, out)))
    return {
        "cell": cell.name,
        "fingerprint": fingerprint(plan, cell),
        "status": "failed",
        "reason": "\n".join(lines[-TAIL_LINES:]) or "no output",
    }
