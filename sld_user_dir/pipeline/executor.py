"""Where shards run: in this process, in processes of this machine, or on a SLURM cluster.

The last two are submitit's executors. Only shards that are missing are submitted.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Set

from sld_user_dir.errors import InputError
from sld_user_dir.files import output_lock
from sld_user_dir.pipeline.recording_list import first_names
from sld_user_dir.pipeline.shards import Job, ShardError

logger = logging.getLogger(__name__)
EXECUTORS = ("inline", "local", "slurm")
MOST_SHARDS = 100_000
QUEUE_INTERVAL_SECONDS = 10.0
QUEUE_GRACE_SECONDS = 60.0  # a result written on another machine may show late on a network disk


@dataclass
class ExecutorConfig:
    """How the shards are run."""

    executor: str = "inline"
    """`inline` (one after the other, here), `local` (processes of this machine), `slurm`"""
    shards: int = 1
    """parts into which the work is cut"""
    shard: Optional[int] = None
    """make only this one, counted from 0, and do not merge: for a job array of your own"""
    parallel: int = 2
    """shards that run at the same time"""
    logs: str = "logs/submitit"
    """folder of submitit's logs"""
    partition: Optional[str] = None
    """SLURM partition"""
    minutes: int = 600
    """time limit of a shard"""
    memory_gb: int = 16
    """memory of a shard on SLURM"""
    cpus: int = 4
    """CPU cores of a shard on SLURM"""
    gpus: int = 0
    """GPUs of a shard on SLURM"""


def run_job(job: Job, config: ExecutorConfig) -> bool:
    """Make the missing shards and, unless one was asked for, the output; a second run waits for the first.

    Returns:
        whether the output is there.

    Raises:
        InputError: no such executor or shard, no shards at all, or nothing to run them with.
        ShardError: shards failed; the others are kept, and the next run makes the failed ones.
    """
    if config.executor not in EXECUTORS:
        raise InputError(f"--executor {config.executor}", "no such executor", f"choose one of {', '.join(EXECUTORS)}")
    if job.n_shards < 1:
        raise InputError(f"--shards {job.n_shards}", "no part to work on", "take 1 or more")
    if job.n_shards > MOST_SHARDS:  # each is a file, looked for at every start
        raise InputError(
            f"--shards {job.n_shards}", "more files than a folder should hold", f"take {MOST_SHARDS} or less"
        )
    for option, value, least in (
        *(("parallel", config.parallel, 1), ("minutes", config.minutes, 1), ("memory-gb", config.memory_gb, 1)),
        *(("cpus", config.cpus, 1), ("gpus", config.gpus, 0)),
    ):
        if value < least:
            raise InputError(f"--{option} {value}", "no shard can run with this", f"take {least} or more")
    if config.shard is not None:
        if not 0 <= config.shard < job.n_shards:
            remedy = f"count from 0 to {job.n_shards - 1}"
            raise InputError(f"--shard {config.shard}", f"no such one of {job.n_shards} shards", remedy)
        job.run_shard(config.shard)
        return False
    with output_lock(job.out):
        _run_and_merge(job, config)
    return True


def _run_and_merge(job: Job, config: ExecutorConfig) -> None:
    mended = job.mended()
    if mended:
        said = "%s: %d recordings that it left out have changed since: %s; it is made again"
        logger.warning(said, job.out, len(mended), first_names(mended))
    pending = job.pending()
    if pending:
        logger.info("%s: %d of %d shards to make (%s)", job.out, len(pending), job.n_shards, config.executor)
    if config.executor == "inline":
        for index in pending:
            job.run_shard(index)
    elif pending:
        _submit(job, pending, config)
    job.finish()


def _submit(job: Job, pending: List[int], config: ExecutorConfig) -> None:
    import submitit

    executor = submitit.AutoExecutor(folder=config.logs, cluster=config.executor)
    parameters: Dict[str, Any] = {"name": job.out.stem, "timeout_min": config.minutes}
    if config.executor == "slurm":
        parameters.update(
            slurm_parameters(config.memory_gb, config.cpus, config.gpus, config.partition),
            slurm_array_parallelism=config.parallel,
        )
    executor.update_parameters(**parameters)
    failed = {}
    width = config.parallel if config.executor == "local" else len(pending)  # SLURM queues itself
    for start in range(0, len(pending), width):
        indices = pending[start : start + width]
        handles = dict(zip(indices, executor.map_array(job.run_shard, indices)))
        failed.update(_wait(handles, config.executor == "slurm"))
    if failed:
        listing = "; ".join(f"shard {i}: {why}" for i, why in sorted(failed.items()))
        raise ShardError(job.out, f"{len(failed)} shards failed", f"run again, it makes these only. {listing}")


def slurm_parameters(memory_gb: int, cpus: int, gpus: int, partition: Optional[str]) -> Dict[str, Any]:
    """What a job asks of SLURM, in submitit's names."""
    wanted: Dict[str, Any] = {"mem_gb": memory_gb, "cpus_per_task": cpus, "gpus_per_node": gpus}
    return {**wanted, "slurm_partition": partition} if partition else wanted


def _wait(handles: Dict[int, Any], on_slurm: bool, poll_seconds: float = 0.5) -> Dict[int, str]:
    """Wait for submitit jobs by shard; why each that failed did."""
    failed, left = {}, dict(handles)
    queue = SlurmQueue() if on_slurm else None
    while left:
        for index, handle in list(left.items()):
            why = None
            if handle.done():
                error = handle.exception()
                why = _cause(error) if error is not None else None
            elif queue and queue.has_lost(handle.job_id):
                why = "SLURM ended it without a result: cancelled, or out of time or memory"
            else:
                continue
            del left[index]
            if why:
                failed[index] = f"{why} (log: {handle.paths.stderr})"
            logger.info("shard %d %s, %d left", index, "failed" if why else "done", len(left))
        time.sleep(poll_seconds if left else 0)
    return failed


class SlurmQueue:
    """Which jobs have left SLURM's queue.

    Submitit asks `sacct`, which fails on clusters without accounting and is asked every ten minutes at most: a killed
    shard would be waited for for ever.
    """

    def __init__(self) -> None:
        self._asked = float("-inf")
        self._queued: Optional[Set[str]] = None  # None: could not be asked
        self._missed: Dict[str, float] = {}  # job: since when

    def has_lost(self, job_id: str) -> bool:
        """Whether the job has been out of the queue for so long that its result would have been seen."""
        now = time.monotonic()
        if now - self._asked > QUEUE_INTERVAL_SECONDS:
            self._asked, self._queued = now, _queued_jobs()
        if self._queued is None or job_id in self._queued:
            self._missed.pop(job_id, None)
            return False
        return now - self._missed.setdefault(job_id, now) > QUEUE_GRACE_SECONDS


def _queued_jobs() -> Optional[Set[str]]:
    """Ids, `7` or `7_0`, of this user's jobs that wait or run; None where SLURM does not answer."""
    command = ["squeue", "--noheader", "--array", "--user", str(os.getuid()), "--format=%i"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return set(done.stdout.split()) if done.returncode == 0 else None


def _cause(error: BaseException) -> str:
    """The line of the shard's own traceback that names its error; submitit wraps it in advice."""
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
    return (named or lines or [type(error).__name__])[-1 if named else 0]
