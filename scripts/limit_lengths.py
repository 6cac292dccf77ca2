"""Leave out what the model cannot hold, counted and listed: DIR/SPLIT.tsv to DIR/OUT.tsv.

    python scripts/limit_lengths.py --data data --split train_all --out train --max-text-tokens 150

DIR/OUT.too-long.tsv lists what was too long. `--too-long truncate` cuts instead: the text first,
then the units, whose transcript then says more than they do.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant

from sld_user_dir.pipeline.length_limits import Limits, limit_manifest
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


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(LimitConfig, dest="config")
    parser.add_arguments(Limits, dest="limits")
    try:
        options = parser.parse_args(argv)
        config, limits = options.config, options.limits
        if config.out == config.split:
            raise ValueError(f"--out {config.out} would overwrite what is read; take another name")
        vocab, target = JointVocabulary.load(config.data), config.data / f"{config.out}.tsv"
        written, too_long = limit_manifest(config.data / f"{config.split}.tsv", target, vocab, limits)
        if not written:
            raise ValueError(f"{target}: no utterance is within {limits.max_tokens} tokens; raise --max-tokens")
    except (ValueError, OSError) as error:
        print(f"limit_lengths.py: {error}", file=sys.stderr)
        return 1
    done = "cut" if limits.too_long == "truncate" else "left out"
    print(
        f"{target}: {written} utterances; {len(too_long)} too long and {done} ({target.with_suffix('.too-long.tsv')})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
