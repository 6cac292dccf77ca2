"""Pretrained GPT-2 weights to a checkpoint that training starts from.

    sld import-gpt2 --gpt2 gpt2-medium --data data/librispeech --out runs/gpt2.pt

prints the options that fairseq-train then needs, --finetune-from-model among them. The text symbols
of the data directory must be GPT-2's: sld vocab --text-tokenizer gpt2.
"""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path


@dataclass
class ImportGPT2Config:
    """What to import, and where it goes."""

    gpt2: str
    """Hugging Face directory, or name on its hub (gpt2, gpt2-medium)"""
    data: Path
    """data directory with dict.txt and vocab.json"""
    out: Path
    """checkpoint to write"""
    initialisation: str = "normal"
    """of units and specials: normal, as the authors do, or mean, near the mean text embedding"""
    seed: int = 1
    """of the initialisation"""


CONFIGS = {"config": ImportGPT2Config}
SHOWS_PROGRESS = False


def run(options: Namespace) -> None:
    """Run the command."""
    from sld_user_dir.models.gpt2_files import import_checkpoint  # loads fairseq, which --help can do without

    config = options.config
    flags = import_checkpoint(config.gpt2, config.data, config.out, config.initialisation, config.seed)
    print(" ".join(flags))
