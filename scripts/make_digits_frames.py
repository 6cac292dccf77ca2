"""Make manifests/digits-frames: digits for units that are learnt (evidence/learned_units/learned_units.yaml).

    python scripts/make_digits_frames.py --fsdd free-spoken-digit-dataset/recordings --whisper whisper-tiny.en

The strings are those of `make_digits.py`, of the training set the first 2,500. A unit is 40 ms, two frames of
Whisper tiny.en's third block side by side, and not de-duplicated: `--learn-units` needs a frame a unit. The recordings
and audio manifests stay in WORK, where `--unit-audio WORK` finds them.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, Sequence

import make_digits
from make_digits import DigitsConfig
from simple_parsing import ArgumentParser, DashVariant
from unit_data import ENCODER, ENCODER_CREDIT, UnitKind, link_encoder, make_data

from sld_user_dir.corpora import connected_digits
from sld_user_dir.errors import InputError
from sld_user_dir.manifests.audio_manifest import read_audio_manifest, write_audio_manifest

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class FramesConfig:
    """Connected digits, a unit a frame."""

    fsdd: Path
    """folder with FSDD's recordings (.wav, or re-encoded as .flac)"""
    whisper: Path
    """directory of openai/whisper-tiny.en in Hugging Face's form"""
    out: Path = ROOT / "manifests" / "digits-frames"
    """data directory to write: unit manifests, k-means, vocabulary"""
    work: Path = Path("runs/digits-frames")
    """joined audio, audio manifests, and the encoder's link"""
    train_strings: int = 2500
    """strings of the training set"""
    num_units: int = 200
    """K"""


def make(config: FramesConfig, work: Path) -> None:
    """Recordings, then k-means, units and vocabulary."""
    link_encoder(config.whisper, work)
    audio = make_digits.write_audio(DigitsConfig(config.fsdd, work=config.work), work)
    first = read_audio_manifest(audio["train"])[: config.train_strings]
    write_audio_manifest(audio["train"], first, work)
    kind = UnitKind(
        "",
        config.num_units,
        ["--features", ENCODER, "--layer", 3, "--stack", 2],
        features=ENCODER,
        credit=ENCODER_CREDIT,
    )
    header = kind.header(connected_digits.LICENSE, connected_digits.ATTRIBUTION)
    make_data(kind, audio, dict.fromkeys(audio, header), "word", work, work / "data", config.out)


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(FramesConfig, dest="config")
    config: FramesConfig = parser.parse_args(argv).config
    try:
        make(replace(config, out=config.out.absolute()), config.work.absolute())
    except InputError as error:
        print(f"make_digits_frames.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
