"""Audio in, text out: recordings to transcripts by a trained checkpoint and its k-means.

    sld transcribe --checkpoint checkpoint_best.pt --data manifests/digits a.wav b.flac

Prints `path<TAB>transcript`. The k-means must be the one whose units the checkpoint was trained on;
another is refused by its fingerprint.
"""

import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

from simple_parsing import field

from sld_user_dir import hub
from sld_user_dir.features.waveform import AudioError


@dataclass
class TranscribeConfig:
    """Audio to text."""

    audio: List[Path] = field(positional=True, nargs="+", metavar="RECORDING")  # noqa: RUF009
    """recordings, of any format and rate that soundfile reads"""
    checkpoint: str = "checkpoint_best.pt"
    """checkpoint, or several joined by `:` for an ensemble"""
    data: Optional[Path] = None
    """data directory of the training; by default where it lay then"""
    kmeans: Optional[Path] = None
    """k-means file; by default kmeans.npz in the data directory"""
    beam: int = 5
    """beam size"""
    max_len_b: int = 200
    """most tokens of a transcript"""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, or one card as `cuda:1`"""


CONFIGS = {"config": TranscribeConfig}
SHOWS_PROGRESS = False


def run(options: Namespace) -> int:
    """Run the command; 1 where a recording could not be transcribed."""
    config: TranscribeConfig = options.config
    failed = 0
    model = hub.load(config.checkpoint, config.data, kmeans=config.kmeans, device=config.device)
    for path in config.audio:
        try:
            text = model.transcribe(path, beam=config.beam, max_len_b=config.max_len_b)
            print(f"{path}\t{text}", flush=True)
        except AudioError as error:  # the others are still transcribed
            print(f"sld transcribe: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0
