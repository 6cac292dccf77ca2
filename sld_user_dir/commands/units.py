"""Audio to units: an audio manifest and a k-means file, or a tokenizer, to a unit manifest, without a feature dump.

    sld units --audio test.audio.tsv --kmeans km300.npz --out data/test.tsv \\
        --header license="CC BY-SA 4.0" attribution="Free Spoken Digit Dataset"

    sld units --audio test.audio.tsv --tokenizer codec:kyutai/mimi --out data/test.tsv

The features are those that the k-means was trained on; its file tells. A tokenizer brings its own codes
(docs/guides/add_a_tokenizer.md). What could not be used stands in OUT with .rejected.tsv, with reasons.
"""

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional

from sld_user_dir.manifests.rejected import read_rejected, rejected_path
from sld_user_dir.pipeline.executor import ExecutorConfig, run_job
from sld_user_dir.pipeline.stage_ledgers import units_ledger
from sld_user_dir.pipeline.stream import StreamConfig
from sld_user_dir.pipeline.table_jobs import ExtractJob, parse_header


@dataclass
class ExtractConfig:
    """Audio to units."""

    audio: Path
    """audio manifest, ours or fairseq's"""
    out: Path
    """unit manifest to write (.tsv)"""
    kmeans: Optional[Path] = None
    """k-means file that sld kmeans wrote"""
    tokenizer: Optional[str] = None
    """in place of a k-means: a tokenizer, such as codec:kyutai/mimi, s3:FILE.onnx, or your own as
    module:function or path/to/file.py:function, with :ARGUMENT behind it if it takes one"""
    deduplicate: bool = False
    """collapse runs of a unit, and write their durations"""
    features: Optional[str] = None
    """where the encoder lies now, if not where it lay when the k-means was trained"""
    device: str = "auto"
    """for a neural encoder or tokenizer: `auto`, `cpu`, `cuda`, or one card as `cuda:1`"""
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
        config.tokenizer,
    )
    if not run_job(job, executor):
        return
    units_ledger(config.out, config.audio)
    left_out = len(read_rejected(rejected_path(config.out)))
    print(f"{config.out}: written; {left_out} recordings left out ({rejected_path(config.out)})")
