"""A training that is killed within an epoch goes on as if it had not been."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.fairseq_logs import logged
from support.miniature import ROOT, TRAIN_OPTIONS, make_data

KILLED_AT, SAVED_AT, LAST = 8, 6, 26
OPTIONS = [
    *TRAIN_OPTIONS,
    "--batch-size",
    "3",
    "--criterion",
    "sld",
    "--eval-wer",
    "--eval-wer-max-len",
    "10",
    "--save-interval-updates",
    str(SAVED_AT),
    "--max-update",
    str(LAST),
    "--dropout",
    "0.1",
    "--user-dir",
    str(ROOT / "sld_user_dir"),
    "--task",
    "speech_unit_lm",
]
VARIANTS = {
    "nothing random": ["--dropout", "0", "--attention-dropout", "0"],
    "masked": [
        "--input-mask-prob",
        "0.3",
        "--input-mask-tokens",
        "all",
        "--update-freq",
        "2",
        "--batch-size",
        "1",
        "--num-workers",
        "2",
    ],
}
TRAIN = """
import os, signal, sys
from fairseq_cli.train import cli_main
from fairseq.trainer import Trainer

killed_at, train_step = int(sys.argv.pop(1)), Trainer.train_step

def killed_in_time(self, *args, **kwargs):
    if self.get_num_updates() == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_step(self, *args, **kwargs)

Trainer.train_step = killed_in_time
cli_main()
"""


def train(data: Path, save_dir: Path, options: list, killed_at: int = -1) -> list:
    """`fairseq-train` in a fresh process, which kills itself before update `killed_at`; what it logged."""
    command = [sys.executable, "-c", TRAIN, killed_at, data, *OPTIONS, *options, "--save-dir", save_dir]
    done = subprocess.run(
        [*map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    expected = 0 if killed_at < 0 else -signal.SIGKILL
    assert done.returncode == expected, done.stdout[-3000:]
    return done.stdout.splitlines()


def numbers(lines: list, kind: str, start: int = 0) -> dict:
    """Everything but times that was logged, by update."""
    times = {"wps", "ups", "wall", "train_wall", "gb_free"}
    key = "num_updates" if kind == "train_inner" else "valid_num_updates"
    return {
        int(log[key]): {k: v for k, v in log.items() if k.removeprefix("valid_") not in times}
        for log in logged(lines, kind)
        if int(log[key]) > start
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_within_an_epoch(tmp_path, variant):
    data, options = make_data(tmp_path / "data", train=31, valid=5), VARIANTS[variant]
    whole = train(data, tmp_path / "whole", options)
    train(data, tmp_path / "killed", options, KILLED_AT)
    iterator = torch.load(tmp_path / "killed" / "checkpoint_last.pt", weights_only=True)["extra_state"][
        "train_iterator"
    ]
    per_epoch = sum(log["epoch"] == 1 for log in logged(whole, "train_inner"))
    assert iterator["iterations_in_epoch"] > 0 and KILLED_AT < per_epoch < LAST, "the kill is to fall within an epoch"
    resumed = train(data, tmp_path / "killed", options)
    updates = numbers(resumed, "train_inner")
    assert list(updates) == list(range(SAVED_AT + 1, LAST + 1))
    assert updates == numbers(whole, "train_inner", SAVED_AT)
    validations = numbers(resumed, "valid")
    assert validations and validations == numbers(whole, "valid", SAVED_AT)


@pytest.mark.parametrize("last", [4, SAVED_AT, 10], ids=["at the end of an epoch", "where it saves", "between"])
def test_a_training_that_is_complete_makes_no_update_when_it_is_called_again(last, tmp_path):
    data = make_data(tmp_path, train=12, valid=3)
    options = ["--max-update", str(last)]
    first = train(data, tmp_path / "run", options)
    files = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    again = train(data, tmp_path / "run", options)
    assert last in numbers(first, "train_inner") and not numbers(again, "train_inner")
    assert any(f"the training is complete, with {last} of {last} updates" in line for line in again)
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == files
    longer = numbers(train(data, tmp_path / "run", ["--max-update", str(last + 2)]), "train_inner")
    assert sorted(longer) == [last + 1, last + 2]
