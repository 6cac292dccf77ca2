"""A model card beside a checkpoint: data, units, vocabulary, objective, training, WER where it was measured, commands.

    sld model-card --checkpoint runs/sld/checkpoint_best.pt --data data/librispeech \\
        --results results/generate-test.txt --license cc-by-4.0 --language en

Writes README.md in Hugging Face's form into the checkpoint's folder. Everything is read from the files;
test sets are scored from fairseq-generate's outputs, and without them the card says "not evaluated".
sld export-gpt2 writes the same card beside the model that it exports.
"""

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional

from sld_user_dir.experiment.card_facts import gather
from sld_user_dir.experiment.card_options import CardOptions
from sld_user_dir.experiment.model_card import model_card, write_card


@dataclass
class ModelCardConfig:
    """What the card is about, and what no file tells."""

    checkpoint: Path
    """fairseq checkpoint of the task speech_unit_lm"""
    data: Path
    """data directory of its training: dict.txt, vocab.json and the manifests"""
    results: List[Path] = field(default_factory=list)
    """outputs of fairseq-generate with this checkpoint, generate-<test set>.txt"""
    out: Optional[Path] = None
    """file to write; by default README.md in the checkpoint's folder"""
    name: Optional[str] = None
    """name of the model; by default that of the folder"""
    license: Optional[str] = None
    """license of the weights, by Hugging Face's short name such as cc-by-sa-4.0"""
    language: Optional[str] = None
    """of the transcripts, as an ISO 639 code"""


CONFIGS = {"config": ModelCardConfig}
SHOWS_PROGRESS = False


def run(options: Namespace) -> None:
    """Run the command."""
    config: ModelCardConfig = options.config
    out = config.out or config.checkpoint.parent / "README.md"
    card_options = CardOptions(config.name or out.resolve().parent.name, config.license, config.language)
    write_card(out, model_card(gather(config.checkpoint, config.data, config.results), card_options))
    print(f"{out}: written")
