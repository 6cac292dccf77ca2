"""The same training under fairseq and fairseq2: the same weights, batches and learning rate, no dropout.

    .venv-fairseq2/bin/python tests-fairseq2/compare_frameworks.py --data manifests/digits-whisper --updates 200

Prints the loss by update and the time of the processor as a table. Each framework runs by its own command line,
in a process of its own; seconds of the processor are those of that process, so that a busy machine changes them little.
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

LR, TOKENS = 5e-4, 1200


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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("manifests/digits-whisper"))
    parser.add_argument("--updates", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        start = scratch / "start.pt"
        start_weights(options.data, start)
        runs = {
            name: run(options.data, start, scratch, options.updates)
            for name, run in (("fairseq", by_fairseq), ("fairseq2", by_fairseq2))
        }
    steps = sorted({1, 10, *range(50, options.updates + 1, 50), options.updates})
    print("| loss (bits) after update | " + " | ".join(map(str, steps)) + " | processor seconds in all |")
    print("| --- " * (len(steps) + 2) + "|")
    for name, (losses, seconds) in runs.items():
        print(f"| {name} | " + " | ".join(f"{losses[step]:.3f}" for step in steps) + f" | {seconds:.1f} |")
    one, two = (losses for losses, _ in runs.values())
    apart = max(abs(one[step] - two[step]) for step in one.keys() & two.keys())
    print(f"\nLargest difference of the loss over {len(one.keys() & two.keys())} updates: {apart:.4f} bits")


if __name__ == "__main__":
    main()
