"""Make the connected-digit unit manifests of the demo from the recordings of FSDD.

    python scripts/make_digits.py --fsdd free-spoken-digit-dataset/recordings

joins recordings to strings, then runs the commands that any corpus would go through: k-means on
the training set, units of every set, vocabulary. The same recordings give the same bytes.
"""

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant

from sld_user_dir.corpora.connected_digits import ATTRIBUTION, LICENSE, SubsetSize, find_digits, write_strings
from sld_user_dir.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class DigitsConfig:
    """Connected digits."""

    fsdd: Path
    """folder with FSDD's recordings (.wav, or re-encoded as .flac)"""
    out: Path = ROOT / "manifests" / "digits"
    """data directory to write: unit manifests, k-means, vocabulary"""
    work: Path = Path("runs/digits")
    """joined audio and intermediate files (0.3 GB; may be deleted afterwards)"""
    num_units: int = 100
    """K of the k-means"""
    stack: int = 4
    """MFCC frames of 10 ms to a unit"""
    train_strings: int = 10000
    """strings of the training set"""
    test_strings: int = 250
    """strings of each test set; the validation set has half as many"""
    speeds: str = "0.9,1.0,1.1"
    """speed perturbation of the training set: one of these for each string"""


def run(command: str, *arguments: object) -> None:
    """Run one of `sld`'s commands in a process of its own, and show it."""
    words = list(map(str, arguments))
    print("$ sld", command, shlex.join(words), flush=True)
    subprocess.run([sys.executable, "-m", "sld_user_dir", command, *words], check=True)


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(DigitsConfig, dest="config")
    config: DigitsConfig = parser.parse_args(argv).config
    speeds: List[float] = [float(s) for s in config.speeds.split(",")]
    sizes = {
        "train": SubsetSize(config.train_strings, speeds),
        "valid": SubsetSize(config.test_strings // 2),
        "test": SubsetSize(config.test_strings),
        "test_unseen": SubsetSize(config.test_strings),
    }
    try:
        digits = find_digits(config.fsdd)
    except InputError as error:
        print(f"make_digits.py: {error}", file=sys.stderr)
        return 1
    print(f"{len(digits)} recordings; joining them to strings in {config.work}", flush=True)
    manifests = write_strings(digits, sizes, config.work)
    made = config.work / "data"
    kmeans = made / "kmeans.npz"
    run(
        "kmeans",
        "--audio",
        manifests["train"],
        "--out",
        kmeans,
        "--sample-rate-hz",
        8000,
        "--stack",
        config.stack,
        "--num-units",
        config.num_units,
    )
    for subset, audio in manifests.items():
        run(
            "units",
            "--audio",
            audio,
            "--kmeans",
            kmeans,
            "--out",
            made / f"{subset}.tsv",
            "--header",
            f"license={LICENSE}",
            f"attribution={ATTRIBUTION}",
        )
    run("vocab", "--data", made, "--text-tokenizer", "word")
    config.out.mkdir(parents=True, exist_ok=True)
    for name in [*(f"{subset}.tsv" for subset in manifests), "kmeans.npz", "dict.txt", "vocab.json"]:
        shutil.copyfile(made / name, config.out / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
