"""Units that you have, in any format of the field, to a unit manifest; joined by id, never by line order.

    sld import --units dev.units --text dev.text --num-units 100 --out data/dev.tsv
    sld import --units train.km --out data/train.tsv --encoder hubert-base-ls960 \\
        --layer 6 --frame-rate-hz 50 --kmeans sha256:… --num-units 100

The format is recognised, or named by --format. What made the units is "unknown" until you state it.
docs/interop.md lists the formats.
"""

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional

from simple_parsing import field as option

from sld_user_dir.interop.conversion_ledgers import import_ledger
from sld_user_dir.interop.detection import FEATURES
from sld_user_dir.interop.importing import Imported, import_units
from sld_user_dir.interop.stated_provenance import Statement
from sld_user_dir.interop.unit_format import unit_formats
from sld_user_dir.pipeline.table_jobs import parse_header


@dataclass
class ImportConfig:
    """What to read and write."""

    units: List[Path]
    """unit files of one format: one, or the shards of a corpus"""
    out: Path
    """unit manifest to write (.tsv)"""
    format: Optional[str] = option(default=None, choices=[*unit_formats(), FEATURES.name])
    """name of the format, if it is not recognised"""
    text: Optional[Path] = None
    """transcripts by id, `id<TAB>text` or Kaldi's `id text`, where the format holds none"""
    audio: Optional[Path] = None
    """audio manifest, ours or fairseq's: transcripts, speakers and lengths by id"""
    allow_missing: bool = False
    """leave out what only one of the files has, counted, instead of stopping"""
    header: List[str] = field(default_factory=list)
    """further header lines, KEY=VALUE: license, attribution"""


def report(out: Path, done: Imported) -> None:
    print(f"{out}: {done.written} utterances of format {done.format}, units {done.provenance.describe()}")
    if done.provenance.encoder == "unknown":
        print("what made these units is unknown: state --encoder, --layer, --frame-rate-hz and --kmeans")
    for what, names in (("without units", done.without_units), ("only in the units", done.without_row)):
        if names:
            print(f"left out, {what}: {len(names)} ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})")


CONFIGS = {"config": ImportConfig, "statement": Statement}
SHOWS_PROGRESS = True


def run(options: Namespace) -> None:
    """Run the command."""
    config: ImportConfig = options.config
    done = import_units(
        config.units,
        config.out,
        format_name=config.format,
        text=config.text,
        audio=config.audio,
        statement=options.statement,
        allow_missing=config.allow_missing,
        header=parse_header(config.header),
    )
    import_ledger(config.out, done.flows)
    report(config.out, done)
