"""The fairseq commands of an experiment, as argument lists, and what is remembered of a run."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

from sld_user_dir.errors import InputError

PACKAGE = Path(__file__).resolve().parents[1]
LOG_FILE = "train.out"


@dataclass(frozen=True)
class System:
    """One line of the table: a name and the options that set it apart."""

    name: str
    description: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """What all systems of an experiment share. Option values: True is a bare flag, None leaves out."""

    data: Path
    out: Path
    test_sets: Sequence[str]
    train_options: Mapping[str, Any]
    generate_options: Mapping[str, Any]
    threads: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str = "checkpoint_best.pt"

    def directory(self, system: System) -> Path:
        """Checkpoints, log and hypotheses of a system."""
        return self.out / system.name


def choose(systems: Sequence[System], names: str) -> list[System]:
    """The systems of comma-separated names, in that order.

    Raises:
        ValueError: there is none of that name.
    """
    known = {system.name: system for system in systems}
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise InputError(None, f"no criterion {unknown[0]!r}", f"choose among {', '.join(known)}")
    return [known[name] for name in names.split(",")]


def option_list(options: Mapping[str, Any]) -> list[str]:
    """``{"lr": 0.001, "eval_wer": True}`` to ``["--lr", "0.001", "--eval-wer"]``."""
    result = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        result.append("--" + name.replace("_", "-"))
        if value is not True:
            result.append(str(value))
    return result


def executable(name: str) -> str:
    """A fairseq command of the environment that runs this."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


def train_command(plan: Plan, system: System) -> list[str]:
    """``fairseq-train`` of a system; a second call resumes from its last checkpoint."""
    directory = plan.directory(system)
    fixed = {"user_dir": PACKAGE, "task": "speech_unit_lm", "save_dir": directory, "log_format": "json"}
    options = {**fixed, **plan.train_options, **system.options}
    return [executable("fairseq-train"), str(plan.data), *option_list(options)]


def generate_command(plan: Plan, system: System, test_set: str) -> list[str]:
    """``fairseq-generate`` of a system's checkpoint, the best of its training, on a test set."""
    directory = plan.directory(system)
    fixed = {
        "user_dir": PACKAGE,
        "task": "speech_unit_lm",
        "path": directory / plan.checkpoint,
        "gen_subset": test_set,
        "results_path": directory / "decode",
        "scoring": "wer",
    }
    return [executable("fairseq-generate"), str(plan.data), *option_list({**fixed, **plan.generate_options})]


def environment(threads: int) -> dict[str, str]:
    """Environment of a child: threads bounded, Python's output unbuffered, no display."""
    limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return {**os.environ, **limits, "PYTHONUNBUFFERED": "1", "MPLBACKEND": "Agg"}


def shown(command: Sequence[str]) -> str:
    """A command as a person would type it in the project's folder."""
    words = [Path(command[0]).name, *command[1:]]
    here = os.getcwd() + os.sep
    return shlex.join(word.removeprefix(here) for word in words)
