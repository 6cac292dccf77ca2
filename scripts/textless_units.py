"""Audio to units by a textless-lib encoder, or any object like it: an audio manifest to a unit manifest.

    python scripts/textless_units.py --audio test.audio.tsv --out data/test.tsv \\
        --dense-model hubert-base-ls960 --num-units 100 --deduplicate
    python scripts/textless_units.py --audio test.audio.tsv --out data/test.tsv \\
        --factory mymodule:my_encoder --dense-model my-encoder-v1 --num-units 500

docs/interop.md says how to install textless-lib. Give --own-kmeans a file of scripts/export_kmeans.py
to use our centroids in it.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant

from sld_user_dir.interop.textless import EncoderSpec
from sld_user_dir.interop.textless_job import EncodeJob
from sld_user_dir.pipeline.audio_scan import rejected_path
from sld_user_dir.pipeline.executor import ExecutorConfig, run_job
from sld_user_dir.pipeline.progress import log_progress
from sld_user_dir.pipeline.shards import ShardError
from sld_user_dir.pipeline.table_jobs import parse_header


@dataclass
class Files:
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


def main(argv: Optional[Sequence[str]] = None) -> int:
    log_progress()
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(Files, dest="files")
    parser.add_arguments(EncoderSpec, dest="encoder")
    parser.add_arguments(ExecutorConfig, dest="executor_config")
    options = parser.parse_args(argv)
    files, executor = options.files, options.executor_config
    try:
        job = EncodeJob(
            files.out, executor.shards, files.audio, options.encoder, files.min_seconds, files.max_seconds,
            parse_header(files.header),
        )  # fmt: skip
        if not run_job(job, executor):
            return 0
    except (ValueError, OSError, ShardError) as error:
        print(f"textless_units.py: {error}", file=sys.stderr)
        return 1
    print(f"{files.out}: written; recordings left out are named in {rejected_path(files.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
