"""A unit manifest in a format of the field, for the tools that read it.

    python scripts/export_units.py --manifest data/test.tsv --format textless --out export/test

Writes OUT with the format's suffix, OUT.provenance.json, and OUT.text with the transcripts where the
format has no place for them; scripts/import_units.py makes the manifest of them again.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant, field

from sld_user_dir.interop.exporting import export_units
from sld_user_dir.interop.formats import FORMATS
from sld_user_dir.pipeline.progress import log_progress


@dataclass
class ExportConfig:
    """What to write."""

    manifest: Path
    """unit manifest"""
    out: Path
    """file to write"""
    format: str = field(choices=list(FORMATS))
    """docs/interop.md lists them"""
    audio: Optional[Path] = None
    """audio manifest, ours or fairseq's, for formats that want paths and lengths (km, s2ut)"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    log_progress()
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(ExportConfig, dest="config")
    config: ExportConfig = parser.parse_args(argv).config
    try:
        done = export_units(config.manifest, config.out, config.format, config.audio)
    except (ValueError, OSError) as error:
        print(f"export_units.py: {error}", file=sys.stderr)
        return 1
    print("written: " + ", ".join(map(str, done.files)))
    if done.lost:
        print(f"columns that {config.format} has no place for: {', '.join(done.lost)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
