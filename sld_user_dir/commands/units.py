"""Audio to units: an audio manifest and a k-means file to a unit manifest, without a feature dump.

    sld units --audio test.audio.tsv --kmeans km300.npz --out data/test.tsv \\
        --header license="CC BY-SA 4.0" attribution="Free Spoken Digit Dataset"

The features are those that the k-means was trained on; its file tells. What could not be used
stands in OUT with .rejected.tsv, with reasons.
"""

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional

from sld_user_dir.manifests.rejected import read_rejected, rejected_path
from sld_user_dir.pipeline.executor import ExecutorConfig, run_job
from sld_user_dir.pipeline.stream import StreamConfig
from sld_user_dir.pipeline.table_jobs import ExtractJob, parse_header


@dataclass
class ExtractConfig:
    """Audio to units."""

    audio: Path
    """audio manifest, ours or fairseq's"""
    kmeans: Path
    """k-means file that sld kmeans wrote"""
    out: Path
    """unit manifest to write (.tsv)"""
    deduplicate: bool = False
    """collapse runs of a unit, and write their durations"""
    features: Optional[str] = None
    """where the encoder lies now, if not where it lay when the k-means was trained"""
    device: str = "auto"
    """for a neural encoder: `auto`, `cpu`, `cuda`, or one card as `cuda:1`"""
    header: List[str] = field(default_factory=list)
    """further header lines, KEY=VALUE: license, attribution"""


CONFIGS = {"config": ExtractConfig, "stream": StreamConfig, "executor_config": ExecutorConfig}
SHOWS_PROGRESS = True


def run(options: Namespace) -> None:
    """Run the command."""
    config, executor = (options.config, options.executor_config)
    job = ExtractJob(
        config.out,
        executor.shards,
        config.audio,
        config.kmeans,
        config.features,
        config.device,
        config.deduplicate,
        parse_header(config.header),
        options.stream,
    )
    if not run_job(job, executor):
        return
    left_out = len(read_rejected(rejected_path(config.out)))
    print(f"{config.out}: written; {left_out} recordings left out ({rejected_path(config.out)})")
