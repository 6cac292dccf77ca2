"""Miniature data that the tests share, and fairseq's commands as child processes."""

import os
import subprocess
from pathlib import Path
from typing import List

import numpy as np

from support.forks import run_forked, run_fresh

ROOT = Path(__file__).resolve().parents[2]
WORDS = ["zero", "one", "two", "three", "four"]
NUM_UNITS = 12


def make_utterances(count: int, prefix: str = "utt", seed: int = 0) -> list:
    """Utterances in which word k sounds like the units 2k, 2k, 2k + 1."""
    from sld_user_dir.manifests.unit_manifest import Utterance

    rng = np.random.default_rng(seed)
    result = []
    for i in range(count):
        words = rng.integers(0, len(WORDS), size=rng.integers(1, 5))
        units = np.concatenate([[2 * w, 2 * w, 2 * w + 1] for w in words]).astype(np.int32)
        text = " ".join(WORDS[w] for w in words)
        result.append(Utterance(f"{prefix}{i}", units, text, fields={"speaker": f"s{i % 2}"}))
    return result


def make_provenance(**changes):
    """The provenance of the miniature's units."""
    from sld_user_dir.manifests.provenance import UnitProvenance

    fields: dict = {"encoder": "synthetic", "layer": None, "frame_rate_hz": 25.0, "kmeans": "sha256:0"}
    fields["num_units"] = NUM_UNITS
    return UnitProvenance(**{**fields, **changes})


def make_data(directory: Path, **counts: int) -> Path:
    """A data directory with one manifest a split, of so many utterances."""
    from sld_user_dir.manifests.unit_manifest import write_manifest
    from sld_user_dir.vocabulary.joint import JointVocabulary
    from sld_user_dir.vocabulary.tokenizers import WordTokenizer

    for number, (split, count) in enumerate(counts.items()):
        utterances = make_utterances(count, f"{split}-", seed=number)
        write_manifest(directory / f"{split}.tsv", utterances, make_provenance(), {"license": "none"})
    JointVocabulary.build([" ".join(WORDS)], NUM_UNITS, WordTokenizer()).save(directory)
    return directory


TRAIN_OPTIONS = [
    "--arch",
    "joint_lm_tiny",
    "--decoder-layers",
    "2",
    "--decoder-embed-dim",
    "32",
    "--decoder-ffn-embed-dim",
    "64",
    "--tokens-per-sample",
    "64",
    "--optimizer",
    "adam",
    "--lr",
    "0.003",
    "--max-tokens",
    "200",
    "--num-workers",
    "0",
    "--log-format",
    "json",
    "--log-interval",
    "1",
    "--no-epoch-checkpoints",
]


def fairseq_command(
    name: str, *arguments: object, check: bool = True, fresh: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Run a fairseq command with our user directory in a process of its own, a fork of one that has imported fairseq.

    Args:
        check: a failure of the command is one here.
        fresh: by a fresh interpreter.
    """
    command = [f"fairseq-{name}", *map(str, arguments)]
    if "hydra" not in name:
        command += ["--user-dir", str(ROOT / "sld_user_dir"), "--task", "speech_unit_lm"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = run_fresh(command, ROOT, environment) if fresh else run_forked(command, ROOT, environment)
    if check and done.returncode != 0:
        output = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        raise AssertionError(f"{' '.join(command)}\nexit {done.returncode}\n{output}")
    return done


def train(
    data: Path, save_dir: Path, *options: object, criterion: str = "sld", updates: int = 4, fresh: bool = False
) -> List[str]:
    """Train a miniature model by ``fairseq-train``; returns the lines that it logged."""
    done = fairseq_command(
        "train",
        data,
        *TRAIN_OPTIONS,
        "--criterion",
        criterion,
        "--save-dir",
        save_dir,
        "--max-update",
        updates,
        *options,
        fresh=fresh,
    )
    return (done.stdout + done.stderr).splitlines()
