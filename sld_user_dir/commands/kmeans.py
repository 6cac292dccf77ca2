"""Learn units: an audio manifest to a k-means file (.npz), with a quality report.

    sld kmeans --audio train.audio.tsv --out km300.npz \\
        --sample-rate-hz 8000 --normalise speaker --stack 4 --num-units 300
    sld kmeans --audio train.audio.tsv --out km2000.npz \\
        --features facebook/hubert-base-ls960 --layer 9 --num-units 2000 --device cuda

The file stores the features, so sld units needs to be told only the file. Drawn
recordings that could not be used stand in OUT with .rejected.tsv, with reasons.
"""

import json
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.manifests.rejected import read_rejected, rejected_path
from sld_user_dir.pipeline.executor import ExecutorConfig, run_job
from sld_user_dir.pipeline.kmeans_job import TrainConfig, TrainJob, peak_memory_bytes
from sld_user_dir.pipeline.stream import StreamConfig


@dataclass
class KMeansFiles:
    """What to read and write."""

    audio: Path
    """audio manifest, ours or fairseq's"""
    out: Path
    """k-means file to write (.npz)"""


CONFIGS = {
    "files_config": KMeansFiles,
    "features_config": FeatureConfig,
    "train_config": TrainConfig,
    "stream_config": StreamConfig,
    "executor_config": ExecutorConfig,
}
SHOWS_PROGRESS = True


def run(options: Namespace) -> None:
    """Run the command."""
    files, executor = (options.files_config, options.executor_config)
    job = TrainJob(
        files.out, executor.shards, files.audio, options.features_config, options.train_config, options.stream_config
    )
    if not run_job(job, executor):
        return
    kmeans = KMeans.load(files.out)
    left_out = len(read_rejected(rejected_path(files.out)))
    print(f"{files.out}: written; {left_out} recordings left out ({rejected_path(files.out)})", file=sys.stderr)
    peak = peak_memory_bytes()
    if peak:
        print(f"peak memory {peak / 2**30:.2f} GiB", file=sys.stderr)
    print(json.dumps({"kmeans": kmeans.sha256, **kmeans.metadata}, indent=2, ensure_ascii=False))
