"""How good units are, as JSON: use of the clusters, agreement with labels, stability under noise.

    sld report --units data/test.tsv
    sld report --units data/test.tsv --alignment phones.ctm
    sld report --kmeans km300.npz --audio test.audio.tsv --recordings 100

The report is printed on standard output; what was not asked for is left out.
"""

import json
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

from sld_user_dir.errors import InputError
from sld_user_dir.pipeline.unit_reports import report_of_manifest, report_of_recordings


@dataclass
class ReportConfig:
    """What to look at."""

    units: Optional[Path] = None
    """unit manifest: use of the clusters"""
    alignment: Optional[Path] = None
    """CTM file (id channel start duration label, seconds): purity and PNMI of --units"""
    kmeans: Optional[Path] = None
    """k-means file: stability of its units on --audio"""
    audio: Optional[Path] = None
    """audio manifest"""
    recordings: int = 100
    """how many of its first recordings to perturb"""
    device: str = "auto"
    """for a neural encoder: `auto`, `cpu`, `cuda`, or one card as `cuda:1`"""

    def __post_init__(self) -> None:
        if self.recordings < 1:
            raise InputError(f"--recordings {self.recordings}", "none to perturb", "take at least 1")


CONFIGS = {"config": ReportConfig}
SHOWS_PROGRESS = False


def run(options: Namespace) -> None:
    """Run the command."""
    config = options.config
    report: Dict[str, Any] = {}
    if not config.units and not (config.kmeans and config.audio):
        raise InputError(None, "nothing to look at", "give --units, or --kmeans and --audio, or all three")
    if config.units:
        report.update(report_of_manifest(config.units, config.alignment))
    if config.kmeans and config.audio:
        report["stability"] = report_of_recordings(config.kmeans, config.audio, config.recordings, config.device)
    print(json.dumps(report, indent=2))
