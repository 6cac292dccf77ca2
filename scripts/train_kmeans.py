"""Learn units: an audio manifest to a k-means file (.npz), with a quality report.

    python scripts/train_kmeans.py --audio train.audio.tsv --out km300.npz \\
        --sample-rate-hz 8000 --normalise speaker --stack 4 --num-units 300
    python scripts/train_kmeans.py --audio train.audio.tsv --out km2000.npz \\
        --features facebook/hubert-base-ls960 --layer 9 --num-units 2000 --device gpu

The file stores the features, so scripts/extract_units.py needs to be told only the file. Drawn
recordings that could not be used stand in OUT with .rejected.tsv, with reasons.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant

from sld_user_dir.clustering.faiss_device import DeviceError
from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.features.front_end import FeatureConfig
from sld_user_dir.pipeline.audio_scan import read_rejected, rejected_path
from sld_user_dir.pipeline.executor import ExecutorConfig, run_job
from sld_user_dir.pipeline.kmeans_job import TrainConfig, TrainJob, peak_memory_bytes
from sld_user_dir.pipeline.progress import log_progress
from sld_user_dir.pipeline.shards import ShardError
from sld_user_dir.pipeline.stream import StreamConfig


@dataclass
class Files:
    """What to read and write."""

    audio: Path
    """audio manifest, ours or fairseq's"""
    out: Path
    """k-means file to write (.npz)"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    log_progress()
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    for name, kind in {
        "files": Files,
        "features": FeatureConfig,
        "train": TrainConfig,
        "stream": StreamConfig,
        "executor": ExecutorConfig,
    }.items():
        parser.add_arguments(kind, dest=f"{name}_config")
    try:
        options = parser.parse_args(argv)
        files, executor = options.files_config, options.executor_config
        job = TrainJob(
            files.out,
            executor.shards,
            files.audio,
            options.features_config,
            options.train_config,
            options.stream_config,
        )
        if not run_job(job, executor):
            return 0
    except (ValueError, OSError, DeviceError, ShardError) as error:
        print(f"train_kmeans.py: {error}", file=sys.stderr)
        return 1
    kmeans = KMeans.load(files.out)
    left_out = len(read_rejected(rejected_path(files.out)))
    print(f"{files.out}: written; {left_out} recordings left out ({rejected_path(files.out)})", file=sys.stderr)
    peak = peak_memory_bytes()
    if peak:
        print(f"peak memory {peak / 2**30:.2f} GiB", file=sys.stderr)
    print(json.dumps({"kmeans": kmeans.sha256, **kmeans.metadata}, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
