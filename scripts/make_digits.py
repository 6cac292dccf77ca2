"""Make the connected-digit unit manifests of the demo from the recordings of FSDD.

    python scripts/make_digits.py --fsdd free-spoken-digit-dataset/recordings
    python scripts/make_digits.py --fsdd free-spoken-digit-dataset/recordings --whisper whisper-tiny.en

The first joins recordings to strings, then runs the commands that any corpus would go through: k-means on
the training set, units of every set, vocabulary. The second makes the same strings into two more kinds of
units besides, OUT-mfcc (normalised by speaker) and OUT-whisper (neural), each with one more test set, the ten
digits of Asterisk's prompts. The same recordings and weights give the same bytes.
"""

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant

from sld_user_dir.corpora import asterisk_prompts, connected_digits
from sld_user_dir.corpora.connected_digits import SubsetSize, find_digits, write_strings
from sld_user_dir.errors import InputError
from sld_user_dir.manifests.audio_manifest import write_audio_manifest

ROOT = Path(__file__).resolve().parents[1]
ENCODER = "openai/whisper-tiny.en"  # the name in the k-means file; the weights are linked under it in WORK
ENCODER_CREDIT = (
    "made by the encoder of Whisper tiny.en (OpenAI, MIT license), which was trained on transcribed speech: supervised"
)


@dataclass
class DigitsConfig:
    """Connected digits."""

    fsdd: Path
    """folder with FSDD's recordings (.wav, or re-encoded as .flac)"""
    whisper: Optional[Path] = None
    """directory of openai/whisper-tiny.en in Hugging Face's form: also make OUT-mfcc and OUT-whisper"""
    layer: int = 3
    """block of Whisper's encoder whose output is taken"""
    asterisk: Optional[Path] = None
    """folder of the unpacked Debian packages of Asterisk's prompts (without it: fetched by apt-get), for --whisper"""
    out: Path = ROOT / "manifests" / "digits"
    """data directory to write: unit manifests, k-means, vocabulary"""
    work: Path = Path("runs/digits")
    """joined audio and intermediate files (0.3 GB; may be deleted afterwards)"""
    num_units: Optional[int] = None
    """K of every k-means; by default 100 of MFCC and 200 of Whisper"""
    stack: int = 4
    """MFCC frames of 10 ms to a unit"""
    train_strings: int = 10000
    """strings of the training set"""
    test_strings: int = 250
    """strings of each test set; the validation set has half as many"""
    speeds: str = "0.9,1.0,1.1"
    """speed perturbation of the training set: one of these for each string"""


@dataclass(frozen=True)
class UnitKind:
    """A data directory: which features, how many units, and what the headers of its manifests say."""

    suffix: str
    """of the directory's name"""
    num_units: int
    kmeans_options: Sequence[object]
    units_options: Sequence[object] = ()
    features: Optional[str] = None
    """the encoder's name, for the header"""
    credit: str = ""
    """of the encoder"""

    def header(self, subset: str) -> List[str]:
        """Entries of the header: license and attribution of what the set is made of."""
        corpus = asterisk_prompts if subset == "test_asterisk" else connected_digits
        attribution = "; ".join(text for text in (corpus.ATTRIBUTION, self.credit) if text)
        named = [f"features={self.features}"] if self.features else []
        return [f"license={corpus.LICENSE}", f"attribution={attribution}", *named]


def kinds(config: DigitsConfig) -> List[UnitKind]:
    """The data directories that are to be made."""
    mfcc = ["--sample-rate-hz", 8000, "--stack", config.stack]
    neural = ["--features", ENCODER, "--layer", config.layer]
    found = [UnitKind("", 100, mfcc)]
    if config.whisper is not None:
        found.append(UnitKind("-mfcc", 100, [*mfcc, "--normalise", "speaker"], features="mfcc"))
        found.append(UnitKind("-whisper", 200, neural, ["--deduplicate"], ENCODER, ENCODER_CREDIT))
    return found


def run(work: Path, command: str, *arguments: object) -> None:
    """Run one of `sld`'s commands in a process of its own, in `work`, and show it."""
    words = list(map(str, arguments))
    print("$ sld", command, shlex.join(words), flush=True)
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-m", "sld_user_dir", command, *words], check=True, cwd=work, env=environment)


def write_audio(config: DigitsConfig, work: Path) -> Dict[str, Path]:
    """The audio manifest of each set; the strings are joined here."""
    speeds: List[float] = [float(s) for s in config.speeds.split(",")]
    sizes = {
        "train": SubsetSize(config.train_strings, speeds),
        "valid": SubsetSize(config.test_strings // 2),
        "test": SubsetSize(config.test_strings),
        "test_unseen": SubsetSize(config.test_strings),
    }
    digits = find_digits(config.fsdd)
    print(f"{len(digits)} recordings; joining them to strings in {config.work}", flush=True)
    manifests = write_strings(digits, sizes, work)
    if config.whisper is not None:
        tree = config.asterisk or asterisk_prompts.fetch(work / "asterisk")
        prompts = asterisk_prompts.digit_prompts(asterisk_prompts.read_prompts(tree))
        manifests["test_asterisk"] = work / "test_asterisk.audio.tsv"
        write_audio_manifest(manifests["test_asterisk"], prompts, work)
    return manifests


def link_encoder(whisper: Path, work: Path) -> None:
    """Put the weights where `ENCODER`, read as a path from `work`, leads to: no file names a folder of this machine.

    Raises:
        InputError: no model there.
    """
    if not (whisper / "config.json").is_file():
        raise InputError(whisper, "no model's directory (it has no config.json)", f"save {ENCODER} there")
    link = work / ENCODER
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(whisper.absolute(), target_is_directory=True)


def make(config: DigitsConfig, kind: UnitKind, manifests: Dict[str, Path], work: Path) -> None:
    """K-means, units of every set and vocabulary of one kind."""
    made = work / f"data{kind.suffix}"
    kmeans = made / "kmeans.npz"
    sets = {name: audio for name, audio in manifests.items() if kind.suffix or name != "test_asterisk"}
    num_units = config.num_units or kind.num_units
    run(work, "kmeans", "--audio", sets["train"], "--out", kmeans, *kind.kmeans_options, "--num-units", num_units)
    for subset, audio in sets.items():
        names = ["--audio", audio, "--kmeans", kmeans, "--out", made / f"{subset}.tsv"]
        run(work, "units", *names, *kind.units_options, "--header", *kind.header(subset))
    run(work, "vocab", "--data", made, "--text-tokenizer", "word")
    out = config.out.with_name(config.out.name + kind.suffix)
    out.mkdir(parents=True, exist_ok=True)
    for name in [*(f"{subset}.tsv" for subset in sets), "kmeans.npz", "dict.txt", "vocab.json"]:
        shutil.copyfile(made / name, out / name)


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(DigitsConfig, dest="config")
    config: DigitsConfig = parser.parse_args(argv).config
    work = config.work.absolute()
    try:
        if config.whisper is not None:
            link_encoder(config.whisper, work)
        manifests = write_audio(config, work)
    except InputError as error:
        print(f"make_digits.py: {error}", file=sys.stderr)
        return 1
    for kind in kinds(config):
        make(config, kind, manifests, work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
