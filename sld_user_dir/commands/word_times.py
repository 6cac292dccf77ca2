"""How far word times are from true ones: two CTM files, recording by recording.

    fairseq-generate … --word-times test.ctm
    sld word-times test.ctm --references manifests/digits/test.ctm

Prints a table of absolute errors of word boundaries, beside those of words that are evenly spread; `--json` also
writes it.
"""

import json
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from simple_parsing import field

from sld_user_dir.files import atomic_path
from sld_user_dir.manifests.ctm import read_ctm
from sld_user_dir.scoring.time_errors import format_time_report, time_report


@dataclass
class WordTimesConfig:
    """Score word times."""

    ctm: Path = field(positional=True, metavar="CTM")  # noqa: RUF009
    """word times of hypotheses, as fairseq-generate --word-times writes them"""
    references: Path = field()  # noqa: RUF009
    """true word times of the same recordings, a CTM file, too"""
    json: Optional[Path] = None
    """file to write the report to"""


CONFIGS = {"config": WordTimesConfig}
SHOWS_PROGRESS = False


def run(options: Namespace) -> None:
    """Run the command."""
    config = options.config
    report = time_report(read_ctm(config.ctm), read_ctm(config.references), config.ctm)
    print(format_time_report(report))
    if config.json is not None:
        with atomic_path(config.json) as aside:
            aside.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
