"""When each word of the connected digits was said, from the lengths of the recordings that were joined.

    python scripts/digit_word_times.py --fsdd free-spoken-digit-dataset/recordings

Writes SET.ctm beside each named manifest; the strings of all kinds of units are the same, so one folder is enough.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant

from sld_user_dir.corpora.digit_times import true_word_times
from sld_user_dir.errors import InputError
from sld_user_dir.manifests.ctm import write_ctm
from sld_user_dir.manifests.unit_manifest import read_manifest

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class DigitTimesConfig:
    """True word times of connected digits."""

    fsdd: Path
    """folder with FSDD's recordings"""
    data: Path = ROOT / "manifests" / "digits"
    """data directory with manifests of strings of digits"""
    sets: str = "valid,test,test_unseen"
    """comma-separated names of the manifests"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(DigitTimesConfig, dest="config")
    config: DigitTimesConfig = parser.parse_args(argv).config
    try:
        for name in config.sets.split(","):
            out = config.data / f"{name}.ctm"
            count = write_ctm(out, true_word_times(read_manifest(config.data / f"{name}.tsv"), config.fsdd))
            print(f"{out}: {count} words")
    except InputError as error:
        print(f"digit_word_times.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
