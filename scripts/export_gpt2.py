"""A trained model as a Hugging Face GPT-2 directory, for its tools to serve.

    python scripts/export_gpt2.py --checkpoint runs/sld/checkpoint_best.pt --data data/librispeech --out exported

The exported vocabulary is text first, in GPT-2's order, then specials, then units; its symbols are
listed in joint_symbols.json. A prompt is units, then <sep>; the transcript ends with </s>.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant

from sld_user_dir.models.gpt2_files import export_checkpoint


@dataclass
class Config:
    """What to export, and where it goes."""

    checkpoint: Path
    """fairseq checkpoint of a joint_lm"""
    data: Path
    """data directory with the dict.txt and vocab.json that it was trained with"""
    out: Path
    """directory to write"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(Config, dest="config")
    config = parser.parse_args(argv).config
    try:
        export_checkpoint(config.checkpoint, config.data, config.out)
    except (ValueError, OSError) as error:
        print(f"export_gpt2.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
