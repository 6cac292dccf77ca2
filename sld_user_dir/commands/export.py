"""A unit manifest in a format of the field, for the tools that read it.

    sld export --manifest data/test.tsv --format textless --out export/test

Writes OUT with the format's suffix, OUT.provenance.json, and OUT.text with the transcripts where the
format has no place for them; sld import makes the manifest of them again.
"""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from simple_parsing import field

from sld_user_dir.interop.conversion_ledgers import export_ledger
from sld_user_dir.interop.exporting import export_units
from sld_user_dir.interop.unit_format import unit_formats


@dataclass
class ExportUnitsConfig:
    """What to write."""

    manifest: Path
    """unit manifest"""
    out: Path
    """file to write"""
    format: str = field(choices=list(unit_formats()))
    """docs/interop.md lists them"""
    audio: Optional[Path] = None
    """audio manifest, ours or fairseq's, for formats that want paths and lengths (km, s2ut)"""


CONFIGS = {"config": ExportUnitsConfig}
SHOWS_PROGRESS = True


def run(options: Namespace) -> None:
    """Run the command."""
    config: ExportUnitsConfig = options.config
    done = export_units(config.manifest, config.out, config.format, config.audio)
    export_ledger(done.files[0], config.manifest, config.format, done.lost)
    print("written: " + ", ".join(map(str, done.files)))
    if done.lost:
        print(f"columns that {config.format} has no place for: {', '.join(done.lost)}")
