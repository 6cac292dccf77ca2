"""A cell whose units are learnt with the recogniser: its own k-means, and its own units of the test sets.

`--learn-units` trains on frames; what is decoded are units, of the k-means that the checkpoint holds by then. So
between training and decoding a cell exports both and extracts the units of each test set again, by the commands that
a user would type (docs/learned_units.md).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from sld_user_dir.errors import InputError
from sld_user_dir.experiment.child_process import ending_with_parent
from sld_user_dir.experiment.data_digest import VOCABULARY
from sld_user_dir.experiment.fairseq_commands import Plan, System, environment
from sld_user_dir.files import atomic_path, read_text, sha256_of

UNITS, PLAIN, KMEANS, ENCODER = "units", "checkpoint_plain.pt", "kmeans.npz", "encoder"


def decoding_plan(made: Plan, system: System) -> Plan:
    """What is decoded of a cell that has been trained: the plan itself, or one on units that the training has learnt.

    What an earlier call made of the same checkpoint is kept.

    Raises:
        InputError: no recordings of a test set, or a checkpoint that cannot be exported.
    """
    if not made.train_options.get("learn_units"):
        return made
    directory = made.directory(system)
    units, best = directory / UNITS, directory / "checkpoint_best.pt"
    learned = replace(made, data=units, checkpoint=PLAIN)
    stamp, stated = units / "made_from", f"{sha256_of(best)}\n"
    if stamp.exists() and read_text(stamp) == stated:
        return learned
    units.mkdir(exist_ok=True)
    for name in VOCABULARY:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to((made.data / name).absolute())
    shutil.rmtree(units / ENCODER, ignore_errors=True)  # of an earlier checkpoint: an encoder is never written over
    for command in export_commands(made, directory):
        started_by, limits = ending_with_parent(), environment(made.threads)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=limits, preexec_fn=started_by)
        if done.returncode:
            said = done.stderr.strip().rpartition("\n")[2]
            raise InputError(best, f"its units could not be made: {said}", "the recordings must be where they were")
    with atomic_path(stamp) as aside:
        aside.write_text(stated, encoding="ascii")
    return learned


def export_commands(made: Plan, directory: Path) -> list[list[str]]:
    """`sld export-kmeans` of a training, then `sld units` for each test set."""
    options, units = made.train_options, directory / UNITS
    export = ["--checkpoint", directory / "checkpoint_best.pt", "--out", units / KMEANS]
    export += ["--plain-checkpoint", directory / PLAIN]
    features = options.get("unit_features")
    if options.get("learn_encoder"):
        features = units / ENCODER
        export += ["--encoder-out", features]
    encoder = ["--features", features] if features else []
    audio = Path(options.get("unit_audio") or made.data)
    commands = [["export-kmeans", *export]]
    for name in made.test_sets:
        files = ["--audio", audio / f"{name}.audio.tsv", "--kmeans", units / KMEANS, "--out", units / f"{name}.tsv"]
        commands.append(["units", *files, *encoder])
    return [[sys.executable, "-m", "sld_user_dir", *map(str, command)] for command in commands]
