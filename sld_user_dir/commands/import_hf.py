"""A Hugging Face model that reads units, of the authors' program or of sld export-hf, as a base and a checkpoint.

    sld import-hf --hf-model output/gpt2_asr_model/epoch_9 --data DATA --out runs/authors

Writes OUT/base, the language model of the text alone, and OUT/checkpoint.pt, which fairseq-generate and hub.load take,
and which a training starts from by --finetune-from-model. DATA gets the vocabulary, if it has none.
"""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path


@dataclass
class ImportHFConfig:
    """What to import, and where it goes."""

    hf_model: str
    """directory of the model with its unit tokens, or its name on the Hugging Face hub"""
    data: Path
    """data directory of the same units: its vocabulary is checked, or made"""
    out: Path
    """directory to write"""


CONFIGS = {"config": ImportHFConfig}
SHOWS_PROGRESS = False


def run(options: Namespace) -> None:
    """Run the command."""
    from sld_user_dir.models.hf_import import import_directory  # loads fairseq, which --help can do without

    config: ImportHFConfig = options.config
    checkpoint = import_directory(config.hf_model, config.data, config.out)
    print(f"--arch joint_hf --hf-model {(config.out / 'base').resolve()} --finetune-from-model {checkpoint}")
