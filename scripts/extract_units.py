"""Audio to units: an audio manifest and a k-means file to a unit manifest, without a feature dump.

    python scripts/extract_units.py --audio test.audio.tsv --kmeans km300.npz --out data/test.tsv \\
        --header license="CC BY-SA 4.0" attribution="Free Spoken Digit Dataset"

The features are those that the k-means was trained on; its file tells. What could not be used
stands in OUT with .rejected.tsv, with reasons.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant

from sld_user_dir.clustering.faiss_device import DeviceError
from sld_user_dir.pipeline.audio_scan import read_rejected, rejected_path
from sld_user_dir.pipeline.executor import ExecutorConfig, run_job
from sld_user_dir.pipeline.progress import log_progress
from sld_user_dir.pipeline.shards import ShardError
from sld_user_dir.pipeline.stream import StreamConfig
from sld_user_dir.pipeline.table_jobs import ExtractJob, parse_header


@dataclass
class ExtractConfig:
    """Audio to units."""

    audio: Path
    """audio manifest, ours or fairseq's"""
    kmeans: Path
    """k-means file that scripts/train_kmeans.py wrote"""
    out: Path
    """unit manifest to write (.tsv)"""
    deduplicate: bool = False
    """collapse runs of a unit, and write their durations"""
    features: Optional[str] = None
    """where the encoder lies now, if not where it lay when the k-means was trained"""
    device: str = "auto"
    """for a neural encoder: `cpu`, `gpu`, or `auto`"""
    header: List[str] = field(default_factory=list)
    """further header lines, KEY=VALUE: license, attribution"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    log_progress()
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(ExtractConfig, dest="config")
    parser.add_arguments(StreamConfig, dest="stream")
    parser.add_arguments(ExecutorConfig, dest="executor_config")
    options = parser.parse_args(argv)
    config, executor = options.config, options.executor_config
    try:
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
            return 0
    except (ValueError, OSError, DeviceError, ShardError) as error:
        print(f"extract_units.py: {error}", file=sys.stderr)
        return 1
    left_out = len(read_rejected(rejected_path(config.out)))
    print(f"{config.out}: written; {left_out} recordings left out ({rejected_path(config.out)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
