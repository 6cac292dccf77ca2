"""Two processes of ``fairseq-train``, and one whose updates collect twice as many batches, are the same training."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support.fairseq_logs import logged
from support.miniature import ROOT, TRAIN_OPTIONS, make_data

from sld_user_dir.manifests.unit_manifest import read_manifest

# dropout and masking draw from each process's own generator: they are what two processes do differently
OPTIONS = [
    *TRAIN_OPTIONS,
    "--dropout",
    "0",
    "--attention-dropout",
    "0",
    "--max-tokens",
    "60",
    "--max-tokens-valid",
    "40",
    "--max-update",
    "10",
    "--eval-wer",
    "--eval-wer-max-len",
    "10",
    "--best-checkpoint-metric",
    "wer",
    "--user-dir",
    str(ROOT / "sld_user_dir"),
    "--task",
    "speech_unit_lm",
    "--cpu",
]
UPDATE = ("num_updates", "loss", "text", "text_accuracy", "gnorm", "lr", "wpb", "bsz")
VALID = ("valid_num_updates", "valid_loss", "valid_text", "valid_text_accuracy", "valid_wer", "valid_cer")
OBJECTIVES = {"masked_ce": ["--criterion", "masked_ce"], "sld": ["--criterion", "sld", "--kl-variant", "official"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Numbers of utterances for which neither batches nor processes come out even."""
    return make_data(tmp_path_factory.mktemp("odd"), train=31, valid=7)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(data: Path, save_dir: Path, *options: object) -> subprocess.Popen:
    command = [Path(sys.executable).with_name("fairseq-train"), data, *OPTIONS, "--save-dir", save_dir, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
    )


def finish(processes: list) -> list:
    """Lines that the first process logged; all of them must have ended well."""
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    for process, output in zip(processes, outputs):
        assert process.returncode == 0, output[-3000:]
    return outputs[0].splitlines()


def two_processes(data: Path, save_dir: Path, *options: object) -> list:
    """The launch of docs/training.md for machines without a GPU."""
    world = [
        "--distributed-world-size",
        2,
        "--distributed-backend",
        "gloo",
        "--ddp-backend",
        "legacy_ddp",
        "--distributed-no-spawn",
        "--distributed-init-method",
        f"tcp://127.0.0.1:{free_port()}",
    ]
    return finish([start(data, save_dir, *options, *world, "--distributed-rank", rank) for rank in (0, 1)])


def values(lines: list, kind: str, keys: tuple) -> list:
    return [[float(log[key]) for key in keys] for log in logged(lines, kind)]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_processes_train_as_one(data, tmp_path, objective):
    """Losses, gradient norms and sizes of every update, the validation's WER, and the weights at the end.

    And every utterance is trained on once an epoch (`bsz`: sentences of an update, over both processes).
    """
    options = OBJECTIVES[objective]
    two = two_processes(data, tmp_path / "two", *options)
    one = finish([start(data, tmp_path / "one", *options, "--update-freq", 2)])
    updates = values(one, "train_inner", UPDATE)
    assert [row[0] for row in updates] == list(range(1, 11))
    torch.testing.assert_close(values(two, "train_inner", UPDATE), updates, rtol=0, atol=2e-3)  # 3 digits are logged
    epoch = [float(log["bsz"]) for log in logged(two, "train_inner") if log["epoch"] == 1]
    assert len(epoch) > 1 and sum(epoch) == len(read_manifest(data / "train.tsv"))
    validations = values(one, "valid", VALID)
    assert len(validations) >= 2
    torch.testing.assert_close(values(two, "valid", VALID), validations, rtol=0, atol=2e-3)
    weights = [
        torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=True)["model"] for name in ("two", "one")
    ]
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-4)


SRUN = """#!/bin/sh
[ -z "$HURRY" ] || kill -USR1 $PPID
echo "$@" > "$LOG"
exec sleep ${SLEEP:-0}
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Path:
    """Programs of SLURM that only note their words, in `log` and `requeued`."""
    for name, text in {"srun": SRUN, "scontrol": f'#!/bin/sh\necho "$@" > {tmp_path}/requeued\n'}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    for name, value in {"NNODES": "2", "GPUS_ON_NODE": "4", "JOB_ID": "123"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return tmp_path


def test_sbatch_file_starts_the_training_on_all_gpus(cluster):
    subprocess.run(["bash", ROOT / "scripts" / "train.sbatch", "DATA", "--lr", "1"], check=True, timeout=60)
    words = (cluster / "log").read_text().split()
    assert words[:4] == ["fairseq-train", "DATA", "--lr", "1"]
    assert words[words.index("--distributed-world-size") + 1] == "8"
    assert 1024 < int(words[words.index("--distributed-port") + 1]) < 65536


def test_sbatch_file_queues_itself_again_when_its_time_is_up(cluster, monkeypatch):
    monkeypatch.setenv("SLEEP", "60")
    job = subprocess.Popen(["bash", ROOT / "scripts" / "train.sbatch", "DATA"])
    until(lambda: (cluster / "log").exists())
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=30) == 0
    assert (cluster / "requeued").read_text() == "requeue 123\n"


def test_sbatch_file_whose_time_is_up_at_its_start(cluster, monkeypatch):
    """The signal comes after srun was started and before bash's next command, which is held back."""
    (cluster / "slow").write_text("trap 'sleep 0.2' DEBUG\n")
    for name, value in {"SLEEP": "60", "HURRY": "1", "BASH_ENV": str(cluster / "slow")}.items():
        monkeypatch.setenv(name, value)
    subprocess.run(["bash", ROOT / "scripts" / "train.sbatch", "DATA"], check=True, timeout=30)
    assert (cluster / "requeued").read_text() == "requeue 123\n"


def until(condition, seconds: float = 30) -> None:
    end = time.time() + seconds
    while not condition():
        assert time.time() < end
        time.sleep(0.05)
