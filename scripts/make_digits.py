"""Make the connected-digit unit manifests of the demo from the recordings of FSDD.

    python scripts/make_digits.py --fsdd free-spoken-digit-dataset/recordings
    python scripts/make_digits.py --fsdd free-spoken-digit-dataset/recordings --whisper whisper-tiny.en

The first joins recordings to strings, then runs the commands that any corpus would go through: k-means on
the training set, units of every set, vocabulary. The second makes the same strings into two more kinds of
units besides, OUT-mfcc (normalised by speaker) and OUT-whisper (neural), each with one more test set, the ten
digits of Asterisk's prompts, and with `--speech-commands` another, the digits of hundreds of voices. OUT-mfcc
has a second training set, train_warped: the first with the vocal tracts of its speakers warped. The same
recordings and weights give the same bytes on one machine with as many threads; elsewhere a frame in 100,000
may get another neural unit (docs/determinism.md).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant
from unit_data import ENCODER, ENCODER_CREDIT, UnitKind, link_encoder, make_data

from sld_user_dir.corpora import asterisk_prompts, connected_digits, speech_commands
from sld_user_dir.corpora.connected_digits import WARPED, SubsetSize, as_other_voices, find_digits, write_strings
from sld_user_dir.errors import InputError
from sld_user_dir.manifests.audio_manifest import read_audio_manifest, write_audio_manifest

ROOT = Path(__file__).resolve().parents[1]


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
    speech_commands: Optional[Path] = None
    """folder with a folder for each word of Speech Commands, for --whisper: also make test_voices"""
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
    warps: str = "0.9,1.0,1.1"
    """warps of the vocal tract in train_warped: one of these for each string"""


def kinds(config: DigitsConfig) -> List[UnitKind]:
    """The data directories that are to be made."""
    mfcc = ["--sample-rate-hz", 8000, "--stack", config.stack]
    neural = ["--features", ENCODER, "--layer", config.layer]
    of_mfcc, of_whisper = config.num_units or 100, config.num_units or 200
    found = [UnitKind("", of_mfcc, mfcc)]
    if config.whisper is not None:
        found.append(UnitKind("-mfcc", of_mfcc, [*mfcc, "--normalise", "speaker"], features="mfcc"))
        found.append(UnitKind("-whisper", of_whisper, neural, ["--deduplicate"], ENCODER, ENCODER_CREDIT))
    return found


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
        warps = [float(w) for w in config.warps.split(",")]
        manifests[WARPED] = work / f"{WARPED}.audio.tsv"
        write_audio_manifest(manifests[WARPED], as_other_voices(read_audio_manifest(manifests["train"]), warps), work)
        tree = config.asterisk or asterisk_prompts.fetch(work / "asterisk")
        prompts = asterisk_prompts.digit_prompts(asterisk_prompts.read_prompts(tree))
        manifests["test_asterisk"] = work / "test_asterisk.audio.tsv"
        write_audio_manifest(manifests["test_asterisk"], prompts, work)
        if config.speech_commands is not None:
            voices = speech_commands.find_commands(config.speech_commands)
            manifests[speech_commands.SUBSET] = speech_commands.write_voices(voices, work)
    return manifests


def make(config: DigitsConfig, kind: UnitKind, manifests: Dict[str, Path], work: Path) -> None:
    """The data directory of one kind; `kind.name` ends its name."""
    others = {"test_asterisk": asterisk_prompts, speech_commands.SUBSET: speech_commands}
    audio = {name: path for name, path in manifests.items() if kind.name or name not in others}
    if kind.features != "mfcc":
        audio.pop(WARPED, None)
    corpora = {name: others.get(name, connected_digits) for name in audio}
    headers = {name: kind.header(corpus.LICENSE, corpus.ATTRIBUTION) for name, corpus in corpora.items()}
    out = config.out.with_name(config.out.name + kind.name)
    make_data(kind, audio, headers, "word", work, work / f"data{kind.name}", out)


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
