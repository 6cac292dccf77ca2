"""Audio to units by a textless-lib encoder, or any object like it: an audio manifest to a unit manifest.

    sld textless --audio test.audio.tsv --out data/test.tsv \\
        --dense-model hubert-base-ls960 --num-units 100 --deduplicate
    sld textless --audio test.audio.tsv --out data/test.tsv \\
        --factory mymodule:my_encoder --dense-model my-encoder-v1 --num-units 500

docs/interop.md says how to install textless-lib. Give --own-kmeans a file of sld export-kmeans
to use our centroids in it.
"""

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import List

from sld_user_dir.interop.textless import EncoderSpec
from sld_user_dir.interop.textless_job import EncodeJob
from sld_user_dir.manifests.rejected import rejected_path
from sld_user_dir.pipeline.executor import ExecutorConfig, run_job
from sld_user_dir.pipeline.stage_ledgers import units_ledger
from sld_user_dir.pipeline.table_jobs import parse_header


@dataclass
class TextlessFiles:
    """What to read and write."""

    audio: Path
    """audio manifest, ours or fairseq's"""
    out: Path
    """unit manifest to write (.tsv)"""
    min_seconds: float = 0.1
    """shorter recordings are left out and named"""
    max_seconds: float = 1800.0
    """longer recordings are left out and named"""
    header: List[str] = field(default_factory=list)
    """further header lines, KEY=VALUE: license, attribution"""


CONFIGS = {"files": TextlessFiles, "encoder": EncoderSpec, "executor_config": ExecutorConfig}
SHOWS_PROGRESS = True


def run(options: Namespace) -> None:
    """Run the command."""
    files, executor = (options.files, options.executor_config)
    job = EncodeJob(
        files.out,
        executor.shards,
        files.audio,
        options.encoder,
        files.min_seconds,
        files.max_seconds,
        parse_header(files.header),
    )
    if not run_job(job, executor):
        return
    units_ledger(files.out, files.audio, "textless")
    print(f"{files.out}: written; recordings left out are named in {rejected_path(files.out)}")
