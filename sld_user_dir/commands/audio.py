"""List the recordings below a folder, with transcripts and speakers, and say which are unusable.

    sld audio --root LibriSpeech/train-clean-100 --out train.audio.tsv
    sld audio --root fsdd --out digits.audio.tsv \\
        --pattern '(?P<text>\\d)_(?P<speaker>\\w+)_(?P<take>\\d+)' --speeds 0.9 1.0 1.1
    sld audio --root LibriSpeech --folders dev-clean dev-other --out valid.audio.tsv

Transcripts come from a table, from the file names by --pattern, from X.txt beside X.flac, or from
LibriSpeech's *.trans.txt. What is left out stands in OUT with .rejected.tsv, with reasons.
"""

from argparse import Namespace
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional

from sld_user_dir.errors import InputError
from sld_user_dir.files import output_lock
from sld_user_dir.manifests.audio_manifest import (
    Recording,
    read_audio_manifest,
    with_speeds,
    with_warps,
    write_audio_manifest,
    write_fairseq_tsv,
)
from sld_user_dir.manifests.rejected import (
    NothingLeftError,
    Rejected,
    nothing_left,
    read_rejected,
    rejected_path,
    write_rejected,
)
from sld_user_dir.pipeline.audio_scan import UsableAudio, list_recordings, listed_recordings, split_off_unlistable
from sld_user_dir.pipeline.executor import ExecutorConfig, run_job
from sld_user_dir.pipeline.stage_ledgers import audio_ledger
from sld_user_dir.pipeline.table_jobs import CheckJob


@dataclass
class AudioManifestConfig:
    """Recordings to an audio manifest."""

    root: Path
    """folder of the recordings"""
    out: Path
    """manifest to write (.tsv)"""
    table: Optional[Path] = None
    """.tsv or .csv with columns path and text (and id, speaker, others, which are kept)"""
    fairseq: Optional[Path] = None
    """fairseq's tsv, with .wrd or .ltr beside it; its own root counts"""
    pattern: Optional[str] = None
    """regular expression on file names without ending; groups text, speaker and others are columns"""
    folders: List[str] = field(default_factory=list)
    """search only these folders below the root, in this order"""
    share: float = 1.0
    """keep this share of the recordings, drawn at random (always the same ones)"""
    lowercase: bool = False
    """write transcripts in lower case"""
    speeds: List[float] = field(default_factory=lambda: [1.0])
    """speed perturbation: each recording once at each of these, for example 0.9 1.0 1.1"""
    warps: List[float] = field(default_factory=lambda: [1.0])
    """vocal tract length perturbation, for MFCC: each recording once with each of these, for example 0.9 1.0 1.1"""
    min_seconds: float = 0.1
    """shorter recordings are left out"""
    max_seconds: Optional[float] = None
    """longer recordings are left out"""
    allow_missing_text: bool = False
    """keep recordings without a transcript (enough for k-means)"""
    header_only: bool = False
    """trust the files' headers instead of decoding each to its end"""
    workers: int = 4
    """threads that decode"""
    write_fairseq: bool = False
    """write fairseq's .tsv, .wrd and .ltr too, named OUT.fairseq.*"""

    def validate(self) -> None:
        """Raise InputError for an option that has nothing to do beside a list of recordings."""
        void: Dict[str, object] = {"--folders": self.folders} if self.table or self.fairseq else {}
        if self.fairseq:
            void.update({"--table": self.table, "--pattern": self.pattern})
            void.update({"--share": self.share != 1, "--lowercase": self.lowercase})
        for option, given in void.items():
            if given:
                source = "--fairseq" if self.fairseq else "--table"
                raise InputError(f"{source} with {option}", "the list is taken as it is", f"leave out {option}")


CONFIGS = {"config": AudioManifestConfig, "executor": ExecutorConfig}
SHOWS_PROGRESS = True


def run(options: Namespace) -> None:
    """Run the command: one process at a time, but for shards of a job array."""
    options.config.validate()
    draft_path = options.config.out.with_suffix(".draft.tsv")
    with output_lock(draft_path) if options.executor.shard is None else nullcontext():
        _list(options.config, options.executor, draft_path)


def _list(config: AudioManifestConfig, executor: ExecutorConfig, draft_path: Path) -> None:
    limits = UsableAudio(config.min_seconds, config.max_seconds, not config.allow_missing_text, not config.header_only)
    root = config.root.absolute()
    rejected: List[Rejected] = []
    not_drawn: List[Recording] = []
    if config.fairseq:
        recordings = listed_recordings(config.fairseq)
    else:
        recordings = list_recordings(
            root, config.table, config.pattern, config.folders, config.share, config.lowercase, rejected, not_drawn
        )
    listable, unlistable = split_off_unlistable(recordings)
    left_out = rejected_path(config.out)
    if not listable:
        write_rejected(left_out, [*rejected, *unlistable])
        raise nothing_left(root, left_out)
    changed = with_speeds(with_warps(listable, config.warps), config.speeds)
    write_audio_manifest(draft_path, changed, root)
    write_rejected(rejected_path(draft_path), [*rejected, *unlistable])
    job = CheckJob(config.out, executor.shards, draft_path, root, limits, config.workers)
    try:
        if not run_job(job, executor):
            return
    except NothingLeftError:
        _remove_draft(draft_path)
        raise
    _remove_draft(draft_path)
    copies = len(changed) - len(listable)
    found = len(recordings) + len(rejected) + len(not_drawn)
    audio_ledger(config.out, config.fairseq or config.table or root, found, copies, len(not_drawn))
    good = read_audio_manifest(config.out)
    if config.write_fairseq:
        write_fairseq_tsv(config.out.with_suffix(".fairseq.tsv"), good, root)
    hours = sum(one.seconds or 0.0 for one in good) / 3600
    print(f"{config.out}: {len(good)} recordings, {hours:.2f} h; {len(read_rejected(left_out))} left out ({left_out})")


def _remove_draft(path: Path) -> None:
    path.unlink()
    rejected_path(path).unlink()
