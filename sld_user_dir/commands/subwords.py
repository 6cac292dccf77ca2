"""Unit subwords: learn a SentencePiece model over units, and rewrite manifests in its pieces.

    sld subwords --train data/train.tsv --model units6000.model --num-pieces 6000
    sld subwords --model units6000.model --encode data/train.tsv data/test.tsv \\
            --out-dir data-subwords

Subwords shorten sequences; a manifest of pieces trains like one of units.
"""

from argparse import Namespace
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional

from sld_user_dir.clustering.subwords import UnitSubwords, encode_manifest
from sld_user_dir.errors import InputError
from sld_user_dir.files import output_lock
from sld_user_dir.manifests.audio_manifest import draw_share
from sld_user_dir.manifests.unit_manifest import read_manifest, refuse_empty, write_manifest
from sld_user_dir.pipeline.stage_ledgers import manifest_ledger


@dataclass
class SubwordConfig:
    """Unit subwords."""

    model: Path
    """model file: written with --train, else read"""
    train: Optional[Path] = None
    """unit manifest to learn from"""
    share: float = 1.0
    """learn from this share of its utterances, drawn at random (always the same ones): SentencePiece
    holds all that it learns from, some 140 bytes a unit"""
    num_pieces: int = 6000
    """size of the speech vocabulary"""
    encode: List[Path] = field(default_factory=list)
    """unit manifests to rewrite"""
    out_dir: Optional[Path] = None
    """folder of the rewritten manifests, which keep their names"""


CONFIGS = {"config": SubwordConfig}
SHOWS_PROGRESS = False


def run(options: Namespace) -> None:
    """Run the command."""
    config = options.config
    if config.encode and not config.out_dir:
        raise InputError("--encode", "no folder to write to", "give one by --out-dir")
    with output_lock(config.model) if config.train else nullcontext():  # manifests of one model, in one folder
        _make(config)


def _make(config: SubwordConfig) -> None:
    if config.train:
        manifest = read_manifest(config.train)
        refuse_empty(manifest)
        units = (manifest.units_of(row) for row in draw_share(range(len(manifest)), config.share))
        subwords = UnitSubwords.train(units, manifest.provenance.num_units, config.num_pieces)
        subwords.save(config.model)
    else:
        subwords = UnitSubwords.load(config.model)
    for path in config.encode:
        assert config.out_dir is not None  # checked by `run`
        manifest = read_manifest(path)
        refuse_empty(manifest)
        utterances, provenance = encode_manifest(manifest, subwords)
        written = write_manifest(config.out_dir / path.name, utterances, provenance, manifest.header)
        manifest_ledger("subwords", config.out_dir / path.name, path, converted=("units",))
        print(f"{config.out_dir / path.name}: {written} utterances in {subwords.num_pieces} pieces")
