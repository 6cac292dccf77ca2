"""Train and decode systems as child processes, side by side, with progress and resumption."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import IO, Callable, Optional, Sequence

from sld_user_dir.errors import InputError
from sld_user_dir.experiment.child_process import ending_with_parent
from sld_user_dir.experiment.data_digest import VOCABULARY, data_digest, training_files
from sld_user_dir.experiment.fairseq_commands import (
    LOG_FILE,
    Plan,
    System,
    environment,
    generate_command,
    shown,
    train_command,
)
from sld_user_dir.experiment.training_log import read_curves
from sld_user_dir.files import atomic_path, read_log, read_text

POLL_S = 1.0
COMMAND, DATA_DIGEST = "command.txt", "data.sha256"
TERMINAL_EVERY_S = 2.0
FILE_EVERY_S = 30.0


class ExperimentError(InputError):
    """A child failed; the message names its log and shows its last lines."""


def train_all(plan: Plan, systems: Sequence[System], jobs: int) -> None:
    """Train every system, ``jobs`` at a time.

    A finished system is not trained again; an interrupted one goes on from its last checkpoint;
    one whose command or data have changed is put aside (``NAME.previous``) and trained afresh.
    """
    todo = []
    for system in systems:
        command = train_command(plan, system)
        made_from = data_digest(plan.data, training_files({**plan.train_options, **system.options})).hex()
        if not _prepare(plan.directory(system), command, made_from):
            todo.append((system.name, command, plan.directory(system)))
    total = int(plan.train_options["max_update"])

    def status() -> str:
        return "  ".join(_progress(plan.directory(s), s.name, total) for s in systems)

    def finished(name: str, elapsed: float) -> None:
        _record(plan.out / name / "trained", "by the command in command.txt\n")

    _run([(n, c, d / LOG_FILE) for n, c, d in todo], jobs, plan.threads, status, finished)


def decode_all(plan: Plan, systems: Sequence[System], jobs: int) -> dict[tuple[str, str], float]:
    """Decode every test set with every system; wall seconds of each, read back where it is done.

    A decoding by another command, or of another manifest, is made again.
    """
    todo, recipes = [], {}
    for system in systems:
        for test_set in plan.test_sets:
            target = plan.directory(system) / "decode" / f"{test_set}.out"
            target.parent.mkdir(parents=True, exist_ok=True)
            command = generate_command(plan, system, test_set)
            recipe = f"{shlex.join(command)}\n{data_digest(plan.data, (f'{test_set}.tsv', *VOCABULARY)).hex()}\n"
            if target.with_suffix(".seconds").exists() and _recorded(target.with_suffix(".recipe")) == recipe:
                continue
            recipes[f"{system.name}/{test_set}"] = recipe
            todo.append((f"{system.name}/{test_set}", command, target))

    def finished(name: str, elapsed: float) -> None:
        system, test_set = name.split("/")
        decoded = plan.out / system / "decode" / test_set
        _record(decoded.with_name(f"{test_set}.seconds"), f"{elapsed:.1f}\n")
        _record(decoded.with_name(f"{test_set}.recipe"), recipes[name])

    _run(todo, jobs, plan.threads, lambda: f"decoding, {len(todo)} runs", finished)
    return {
        (s.name, t): float(read_text(plan.directory(s) / "decode" / f"{t}.seconds"))
        for s in systems
        for t in plan.test_sets
    }


def _prepare(directory: Path, command: Sequence[str], made_from: str) -> bool:
    """Make the run's directory; whether the same command has already finished there, on data of the same bytes."""
    recorded = {DATA_DIGEST: made_from, COMMAND: shlex.join(command)}
    changed = [name for name, text in recorded.items() if _recorded(directory / name) != text]
    if changed and _has_begun(directory):
        previous = directory.with_name(directory.name + ".previous")
        number = 1
        while previous.exists():
            number += 1
            previous = directory.with_name(f"{directory.name}.previous{number}")
        directory.rename(previous)
        what = "the command" if COMMAND in changed else "the data"
        print(f"{what} of {directory.name} changed: the earlier run is kept in {previous}")
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in recorded.items():  # the command last: where it stands, the rest does
        if _recorded(directory / name) != text:
            _record(directory / name, text)
    return (directory / "trained").exists()


def _has_begun(directory: Path) -> bool:
    """Whether something of a run is there, beyond what is written before its command."""
    names = {path.name for path in directory.iterdir()} if directory.exists() else set()
    return any(not name.startswith(".") for name in names - {DATA_DIGEST})


def _record(path: Path, text: str) -> None:
    with atomic_path(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _recorded(path: Path) -> Optional[str]:
    return read_text(path) if path.exists() else None


def _progress(directory: Path, name: str, total: int) -> str:
    curves = read_curves(directory / LOG_FILE)
    bits, wer = curves.last("text"), curves.best("wer")
    learning = "" if bits is None else f", text {bits:.2f} bits a token"
    best = "" if wer is None else f", best valid WER {wer:.1f} %"
    return f"[{name} {curves.updates}/{total}{learning}{best}]"


def _run(
    todo: Sequence[tuple[str, list[str], Path]],
    jobs: int,
    threads: int,
    status: Callable[[], str],
    finished: Callable[[str, float], None],
) -> None:
    """Run (name, command, output file) children, ``jobs`` at a time; stop all if one fails."""
    waiting = deque(todo)
    running: dict[str, tuple[subprocess.Popen[bytes], float, Path]] = {}
    for _, command, _ in todo:
        print("$", shown(command), flush=True)
    started, shown_at = time.time(), 0.0
    every = TERMINAL_EVERY_S if sys.stdout.isatty() else FILE_EVERY_S
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name, command, output = waiting.popleft()
                with output.open("ab") as out:
                    running[name] = _start(command, out, threads), time.time(), output
            time.sleep(POLL_S)
            for name, (child, since, output) in list(running.items()):
                if child.poll() is None:
                    continue
                del running[name]
                if child.returncode != 0:
                    raise ExperimentError(None, _failure(name, child.returncode, output))
                finished(name, time.time() - since)
            if time.time() - shown_at > every:
                shown_at = time.time()
                _show(f"{shown_at - started:5.0f} s  {status()}")
    finally:
        for child, _, _ in running.values():
            child.terminate()
            child.wait()
        if sys.stdout.isatty():
            print()


def _start(command: Sequence[str], out: IO[bytes], threads: int) -> subprocess.Popen[bytes]:
    bind = ending_with_parent()
    return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment(threads), preexec_fn=bind)


def _show(line: str) -> None:
    if sys.stdout.isatty():
        print("\r\033[K" + line, end="", flush=True)
    else:
        print(line, flush=True)


def _failure(name: str, code: int, output: Path) -> str:
    tail = "\n".join(read_log(output)[-15:])
    return f"{name} failed with exit status {code}; the last lines of {output}:\n{tail}"
