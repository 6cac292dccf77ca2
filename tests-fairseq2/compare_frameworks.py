"""The same training under fairseq, fairseq2 and a plain loop: the same weights, batches and learning rate, no dropout.

    .venv-fairseq2/bin/python tests-fairseq2/compare_frameworks.py --updates 300 --plot docs/frameworks.png

Prints the loss by update and updates a second as a table, and draws the losses. Each runs by its own command line, in a
process of its own, on one thread. Updates a second are of the processor's time, so that a busy machine changes them
little, and without start-up: a run of few updates is taken off.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from sld_user_dir.fairseq2.joint_transformer_config import tiny
from sld_user_dir.fairseq2.joint_transformer_factory import create_joint_transformer, fill_in
from sld_user_dir.fairseq2.to_fairseq import fairseq_checkpoint
from sld_user_dir.fairseq2.unit_manifests import UnitManifests
from sld_user_dir.fairseq2.unit_tokenizer import UnitTokenizer
from sld_user_dir.files import atomic_path

LR, TOKENS, SHORT = 5e-4, 1200, 20


def start_weights(data: Path, out: Path) -> None:
    """Random weights, as a checkpoint of fairseq's."""
    config, manifests = tiny(), UnitManifests(data)
    fill_in(config, UnitTokenizer(manifests.vocab), manifests)
    torch.manual_seed(1)
    weights = create_joint_transformer(config).state_dict()
    torch.save(fairseq_checkpoint(weights, asdict(config), str(data), manifests.vocab.pad), out)


def timed(command: list) -> float:
    """Run it; returns the seconds of the processor that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def by_fairseq(data: Path, start: Path, scratch: Path, updates: int) -> tuple:
    """Loss by update, and seconds of the processor."""
    log = scratch / "fairseq.log"
    options = {
        "user-dir": "sld_user_dir",
        "task": "speech_unit_lm",
        "arch": "joint_lm_tiny",
        "dropout": 0,
        "attention-dropout": 0,
        "criterion": "sld",
        "optimizer": "adam",
        "adam-betas": "(0.9,0.98)",
        "weight-decay": 0.01,
        "clip-norm": 1.0,
        "lr": LR,
        "lr-scheduler": "fixed",
        "max-tokens": TOKENS,
        "max-update": updates,
        "seed": 1,
        "tokens-per-sample": 1024,
        "num-workers": 0,
        "log-format": "json",
        "log-interval": 1,
        "log-file": log,
        "finetune-from-model": start,
        "save-dir": scratch / "fairseq",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    main = "from fairseq_cli.train import cli_main; cli_main()"
    seconds = timed([sys.executable, "-c", main, str(data), *flags, "--no-save", "--disable-validation"])
    lines = [line[line.index("{") :] for line in log.read_text().splitlines() if '"num_updates"' in line]
    found = [json.loads(line) for line in lines if '"loss"' in line]
    return {int(one["num_updates"]): float(one["loss"]) for one in found}, seconds


def by_fairseq2(data: Path, start: Path, scratch: Path, updates: int) -> tuple:
    """Loss by update, and seconds of the processor."""
    out = scratch / "fairseq2"
    settings = [
        f"dataset.config_overrides.data={data}",
        f"tokenizer.path={data}",
        f"model.path={start}",
        "model.config_overrides.dropout_p=0.0",
        "model.config_overrides.attn_dropout_p=0.0",
        f"dataset.max_num_tokens={TOKENS}",
        "dataset.valid_split=null",
        "lr_scheduler.config.num_warmup_steps=0",
        "lr_scheduler.config.final_lr=null",
        "lr_scheduler.config.final_lr_scale=1.0",
        f"optimizer.config.lr={LR}",
        f"regime.num_steps={updates}",
        "regime.score_metric=null",
        "regime.publish_metrics_every_n_steps=1",
        "regime.validate_every_n_steps=null",
        "regime.checkpoint_every_n_steps=null",
        "common.no_sweep_dir=true",
    ]
    seconds = timed([sys.executable, "-m", "sld_user_dir.fairseq2", str(out), "--no-rich", "--config", *settings])
    lines = (out / "metrics" / "train.jsonl").read_text().splitlines()
    return {int(one["Step"]): float(one["Loss"]) for one in map(json.loads, lines)}, seconds


def by_plain_torch(data: Path, start: Path, scratch: Path, updates: int) -> tuple:
    """Loss by update, and seconds of the processor, of the loop in examples/ with fairseq2's layers."""
    out = scratch / "plain.json"
    program = [sys.executable, str(Path(__file__).with_name("plain_loop.py")), str(data), str(start), str(out)]
    seconds = timed([*program, "--updates", str(updates), "--lr", str(LR), "--tokens", str(TOKENS)])
    return {int(step): loss for step, loss in json.loads(out.read_text()).items()}, seconds


FRAMEWORKS = {"fairseq": by_fairseq, "fairseq2": by_fairseq2, "plain torch": by_plain_torch}


def compared(data: Path, updates: int) -> dict:
    """By framework the losses by update, and updates a second."""
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.pt"
        start_weights(data, start)
        for name, run in FRAMEWORKS.items():
            seconds = {}
            for number in (SHORT, updates):
                scratch = Path(folder) / f"{name}-{number}".replace(" ", "-")
                scratch.mkdir()
                losses, seconds[number] = run(data, start, scratch, number)
            runs[name] = losses, (updates - SHORT) / (seconds[updates] - seconds[SHORT])
    return runs


def table(runs: dict, updates: int) -> str:
    """Losses after a few updates, updates a second, and how far each is from the first framework at most."""
    steps = sorted({1, 10, *range(50, updates + 1, 50), updates})
    first = next(iter(runs.values()))[0]
    head = [*(f"loss after {step}" for step in steps), "largest difference", "updates a second"]
    lines = ["| | " + " | ".join(head) + " |", "| --- " * (len(head) + 1) + "|"]
    for name, (losses, speed) in runs.items():
        apart = max(abs(losses[step] - first[step]) for step in losses.keys() & first.keys())
        cells = [*(f"{losses[step]:.3f}" for step in steps), f"{apart:.4f}", f"{speed:.1f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(runs: dict, out: Path) -> None:
    """The curves on top of each other; lines of different widths, since they cover each other."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for (name, (losses, _)), width, style in zip(runs.items(), (6, 3, 1), ("-", "-", "--")):
        steps = sorted(losses)
        axes.plot(steps, [losses[step] for step in steps], style, linewidth=width, label=name)
    axes.set(xlabel="update", ylabel="training loss (bits)", title="The same training under each framework")
    axes.legend()
    with atomic_path(out) as aside:
        figure.savefig(aside, format="png", dpi=120, bbox_inches="tight", metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("manifests/digits-whisper"))
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--plot", type=Path, help="a PNG of the losses")
    options = parser.parse_args()
    runs = compared(options.data, options.updates)
    print(table(runs, options.updates))
    if options.plot:
        plot(runs, options.plot)


if __name__ == "__main__":
    main()
