"""A sweep's plan on a few strings of digits, and rows as cells would give them."""

from pathlib import Path

import yaml

from sld_user_dir.sweep.cells import cells_of, fingerprint
from sld_user_dir.sweep.plan_file import read_plan
from support.miniature import ROOT

DATA = ROOT / "manifests" / "digits-whisper"
TRAIN = {
    "arch": "joint_lm_tiny",
    "optimizer": "adam",
    "lr": 0.001,
    "max_tokens": 1200,
    "tokens_per_sample": 256,
    "max_update": 2,
    "eval_wer": True,
    "eval_wer_max_len": 2,
    "no_epoch_checkpoints": True,
    "best_checkpoint_metric": "wer",
    "log_interval": 1,
}


def plan_content(**changes):
    """What stands in the plan file; `changes` replace top-level keys."""
    content = {
        "title": "A small sweep",
        "tuning": "nothing was tuned",
        "train": TRAIN,
        "generate": {"beam": 1, "max_len_a": 0, "max_len_b": 2},
        "conditions": {
            "small": {
                "description": "fifty strings",
                "data": str(DATA),
                "test_sets": ["test_asterisk"],
                "train_utterances": 50,
            }
        },
        "objectives": {
            "masked_ce": {"description": "text only", "options": {"criterion": "masked_ce"}},
            "sld": {"description": "the paper's", "options": {"criterion": "sld"}},
        },
        "cells": [{"conditions": ["small"], "objectives": ["masked_ce", "sld"], "seeds": [1, 2]}],
        "comparisons": [{"objective": "sld", "baseline": "masked_ce"}],
    }
    return {**content, **changes}


def write_plan(folder: Path, **changes):
    """A plan file and what is read from it."""
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(plan_content(**changes)), encoding="utf-8")
    return read_plan(path)


def row_of(plan, cell, word_errors=(1, 0, 2), **changes):
    """A row of a cell that is done."""
    row = {
        "cell": cell.name,
        "fingerprint": fingerprint(plan, cell),
        "status": "done",
        "test_set": "test_asterisk",
        "commit": "c0ffee",
        "sources": "5eed",
        "machine": "CPU x86_64, 2 cores",
        "threads": 1,
        "finished": "2026",
        "train_seconds": 3600.0,
        "cpu_seconds": 7200.0,
        "decode_seconds": 4.0,
        "updates": 2,
        "valid": [{"num_updates": 2, "wer": 50.0, "text": 2.0, "text_accuracy": 40.0, "speech": 5.0}],
        "word_errors": list(word_errors),
        "words": [4, 7, 5],
        "char_errors": [3, 0, 5],
        "chars": [20, 30, 25],
        "speakers": ["ann", "bob", "ann"],
        "commands": ["fairseq-train", "fairseq-generate"],
    }
    return {**row, **changes}


def all_rows(plan):
    """A row for each cell; errors grow with the seed."""
    return [row_of(plan, cell, (cell.seed, 0, 2)) for cell in cells_of(plan)]
