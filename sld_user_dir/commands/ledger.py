"""What became of every recording: the chain of stages in a folder, each loss with its reason.

    sld ledger data
    sld ledger experiment --json chain.json

Stages write what they counted beside their output, FILE.ledger.json; this reads all of them, and those of the stages
before, wherever these lie. The exit status is 1 where a stage's input is not its output and its losses, where it is
not what the stage before wrote, or where a file has changed since (docs/ledger.md).
"""

import json
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from simple_parsing import field as option

from sld_user_dir.files import atomic_path
from sld_user_dir.ledger.ledger_chain import read_chain
from sld_user_dir.ledger.ledger_table import chain_json, format_chain


@dataclass
class LedgerConfig:
    """The chain of stages in a folder."""

    folder: Path = option(positional=True, metavar="DIR")  # noqa: RUF009
    """folder in which stages wrote; the folders below it are read, too"""
    json: Optional[Path] = None
    """file to write the chain to, for programs"""


CONFIGS = {"config": LedgerConfig}
SHOWS_PROGRESS = False


def run(options: Namespace) -> int:
    """Run the command."""
    config = options.config
    links = read_chain(config.folder)
    print(format_chain(links, config.folder))
    if config.json:
        text = json.dumps(chain_json(links, config.folder), ensure_ascii=False, indent=1)
        with atomic_path(config.json) as aside:
            aside.write_text(text + "\n", encoding="utf-8")
    return int(any(link.problems for link in links))
