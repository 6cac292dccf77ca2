"""A trained model as a Hugging Face GPT-2 directory, for its tools to serve.

    sld export-gpt2 --checkpoint runs/sld/checkpoint_best.pt --data data/librispeech --out exported

The exported vocabulary is text first, in GPT-2's order, then specials, then units; its symbols are
listed in joint_symbols.json. A prompt is units, then <sep>; the transcript ends with </s>. README.md
is its model card; sld model-card says what it holds.
"""

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional

from sld_user_dir.experiment.card_facts import gather
from sld_user_dir.experiment.card_options import CardOptions
from sld_user_dir.experiment.model_card import model_card, write_card


@dataclass
class ExportGPT2Config:
    """What to export, and where it goes."""

    checkpoint: Path
    """fairseq checkpoint of a joint_lm"""
    data: Path
    """data directory with the dict.txt and vocab.json that it was trained with"""
    out: Path
    """directory to write"""
    results: List[Path] = field(default_factory=list)
    """outputs of fairseq-generate with this checkpoint, for the WER in the model card"""
    name: Optional[str] = None
    """name of the model in its card; by default that of the directory"""
    license: Optional[str] = None
    """license of the weights, by Hugging Face's short name such as cc-by-sa-4.0"""
    language: Optional[str] = None
    """of the transcripts, as an ISO 639 code"""


CONFIGS = {"config": ExportGPT2Config}
SHOWS_PROGRESS = False


def run(options: Namespace) -> None:
    """Run the command."""
    from sld_user_dir.models.gpt2_files import export_checkpoint  # loads fairseq, which --help can do without

    config: ExportGPT2Config = options.config
    name = config.name or config.out.resolve().name
    card_options = CardOptions(name, config.license, config.language, exported="GPT2LMHeadModel")
    card = model_card(gather(config.checkpoint, config.data, config.results), card_options)
    export_checkpoint(config.checkpoint, config.data, config.out)
    write_card(config.out / "README.md", card)
