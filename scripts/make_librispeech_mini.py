"""Make the unit manifests of LibriSpeech in the small from the recordings, by the commands of any corpus.

    python scripts/make_librispeech_mini.py --train train-clean-5 --dev dev-clean --test test-clean \\
        --whisper whisper-tiny.en

Two kinds of units, each in a data directory of OUT: `whisper`, of the encoder of Whisper tiny.en, and `mfcc`. The sets:
`train`; `dev`, all recordings of --dev; `valid`, every seventh of them, for use while training; `test`. The same
recordings and weights give the same bytes on one machine with as many threads (docs/determinism.md).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant
from unit_data import ENCODER, ENCODER_CREDIT, UnitKind, link_encoder, make_data, run

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.audio_manifest import read_audio_manifest, write_audio_manifest

ROOT = Path(__file__).resolve().parents[1]
LICENSE = "CC BY 4.0"
ATTRIBUTION = (
    "Units and transcripts of LibriSpeech by V. Panayotov, G. Chen, D. Povey and S. Khudanpur (2015), openslr.org/12, "
    "from LibriVox recordings"
)
VALID_EVERY = 7
"""One in so many recordings of the development set is validated on during training, spread over all its speakers."""


@dataclass
class LibriSpeechMiniUnits:
    """Recordings to unit manifests."""

    train: Path
    """folder of the training set: train-clean-5, which is mini_librispeech's (openslr.org/31)"""
    dev: Path
    """folder of dev-clean, or of a part of it"""
    test: Path
    """folder of test-clean"""
    whisper: Path
    """directory of openai/whisper-tiny.en in Hugging Face's form"""
    out: Path = ROOT / "manifests" / "librispeech-mini"
    """folder of the data directories"""
    work: Path = Path("runs/librispeech-mini-units")
    """intermediate files (may be deleted afterwards)"""


KINDS = (
    UnitKind("whisper", 1000, ["--features", ENCODER, "--layer", 4], ["--deduplicate"], ENCODER, ENCODER_CREDIT),
    UnitKind("mfcc", 500, ["--normalise", "speaker", "--stack", 3], ["--deduplicate"], "mfcc"),
)


def audio_manifests(config: LibriSpeechMiniUnits, work: Path) -> Dict[str, Path]:
    """The audio manifest of each set.

    Raises:
        InputError: a speaker in two of training, development and test.
    """
    manifests = {}
    for subset, root in (("train", config.train), ("dev", config.dev), ("test", config.test)):
        manifests[subset] = work / f"{subset}.audio.tsv"
        run(work, "audio", "--root", root.absolute(), "--out", manifests[subset], "--lowercase")
    sets = {subset: read_audio_manifest(path) for subset, path in manifests.items()}
    speakers: Dict[str, str] = {}
    for subset, recordings in sets.items():
        for one in recordings:
            if speakers.setdefault(one.speaker, subset) != subset:
                raise InputError(
                    manifests[subset],
                    f"speaker {one.speaker} is in {speakers[one.speaker]} too",
                    "give three sets that share no speaker",
                )
    manifests["valid"] = work / "valid.audio.tsv"
    write_audio_manifest(manifests["valid"], sets["dev"][::VALID_EVERY], config.dev.absolute())
    return manifests


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(LibriSpeechMiniUnits, dest="config")
    config: LibriSpeechMiniUnits = parser.parse_args(argv).config
    work = config.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    try:
        link_encoder(config.whisper, work)
        manifests = audio_manifests(config, work)
    except InputError as error:
        print(f"make_librispeech_mini.py: {error}", file=sys.stderr)
        return 1
    for kind in KINDS:
        headers = dict.fromkeys(manifests, kind.header(LICENSE, ATTRIBUTION))
        make_data(kind, manifests, headers, "char", work, work / kind.name, config.out / kind.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
