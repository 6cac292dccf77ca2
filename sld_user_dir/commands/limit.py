"""Leave out what the model cannot hold, counted and listed: DIR/SPLIT.tsv to DIR/OUT.tsv.

    sld limit --data data --split train_all --out train --max-text-tokens 150

DIR/OUT.too-long.tsv lists what was too long. `--too-long truncate` cuts instead: the text first,
then the units, whose transcript then says more than they do.
"""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from sld_user_dir.errors import InputError
from sld_user_dir.files import output_lock
from sld_user_dir.pipeline.length_limits import LengthLimits, limit_manifest
from sld_user_dir.pipeline.stage_ledgers import limit_ledger
from sld_user_dir.vocabulary.joint import JointVocabulary


@dataclass
class LimitConfig:
    """A split within the limits of the model."""

    data: Path
    """data directory with the manifest, dict.txt and vocab.json"""
    split: str = "train_all"
    """manifest to read"""
    out: str = "train"
    """manifest to write"""


CONFIGS = {"config": LimitConfig, "limits": LengthLimits}
SHOWS_PROGRESS = False


def run(options: Namespace) -> None:
    """Run the command."""
    config, limits = (options.config, options.limits)
    if config.out == config.split:
        raise InputError(None, f"--out {config.out} would overwrite what is read", "take another name")
    vocab, target = (JointVocabulary.load(config.data), config.data / f"{config.out}.tsv")
    source = config.data / f"{config.split}.tsv"
    with output_lock(target):  # three files that belong together
        written, too_long = limit_manifest(source, target, vocab, limits)
        limit_ledger(target, source, limits, too_long)
    done = "cut" if limits.too_long == "truncate" else "left out"
    print(
        f"{target}: {written} utterances; {len(too_long)} too long and {done} ({target.with_suffix('.too-long.tsv')})"
    )
