"""Pretrained GPT-2 weights to a checkpoint that training starts from.

    python scripts/import_gpt2.py --gpt2 gpt2-medium --data data/librispeech --out runs/gpt2.pt

prints the options that fairseq-train then needs, --finetune-from-model among them. The text symbols
of the data directory must be GPT-2's: scripts/build_vocab.py --text-tokenizer gpt2.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant

from sld_user_dir.models.gpt2_files import import_checkpoint


@dataclass
class Config:
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


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(Config, dest="config")
    config = parser.parse_args(argv).config
    try:
        options = import_checkpoint(config.gpt2, config.data, config.out, config.initialisation, config.seed)
    except (ValueError, OSError) as error:
        print(f"import_gpt2.py: {error}", file=sys.stderr)
        return 1
    print(" ".join(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
