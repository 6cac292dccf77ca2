"""Kills stages at random moments, runs them again, and compares what is there with what an undisturbed run leaves.

    make soak SOAK=100

A kill falls before a random one of the changes that the stage makes to files (`support/kill_points.py`), or at a random
time. Half of the runs are killed twice.
"""

import argparse
import itertools
import os
import shlex
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

import numpy as np

from support.forks import TimedOut, run_forked
from support.kill_digests import digests, losses
from support.kill_inputs import make_recordings
from support.kill_stages import STAGES, KillStage

KILLED = -9
NEVER_SECONDS = 500.0


class Undisturbed(NamedTuple):
    """What a stage does when nobody kills it."""

    before: Path
    """the folder as the stage finds it"""
    files: Dict[str, str]
    """digest by path, of the folder as the stage leaves it"""
    changes: int
    seconds: float
    losses: Dict[int, Any]


class Outcome(NamedTuple):
    """One stage that was killed and run again."""

    stage: str
    moments: List[str]
    faults: List[str]


class Soak:
    """A folder in which the stages run, and what each leaves undisturbed."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.work = folder / "work"
        self.whole: Dict[str, Undisturbed] = {}
        make_recordings(self.work / "wav")

    def run(self, stage: KillStage, kill_at: int = 0, seconds: float = NEVER_SECONDS) -> Tuple[int, str]:
        """Run a stage; its exit status, and what it said."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "KILL_AT": str(kill_at), "KILL_BELOW": str(self.work)}
        environment.update(KILL_COUNT=str(self.folder / "changes"), XDG_CACHE_HOME=str(self.folder / "cache"))
        (self.work / "data").mkdir(exist_ok=True)
        try:
            done = run_forked(shlex.split(stage.command), self.work, environment, seconds, stage.imported)
        except TimedOut:
            return KILLED, ""
        return done.returncode, done.stdout + done.stderr

    def prepare(self, stages: List[KillStage]) -> None:
        """Run all stages undisturbed."""
        for number, stage in enumerate(stages):
            if stage.make is not None:
                stage.make(self.work)
            before = self.folder / f"before-{number}"
            shutil.copytree(self.work, before)
            start = time.monotonic()
            status, said = self.run(stage)
            assert status == 0, f"{stage.name}: {said[-3000:]}"
            seconds, changes = time.monotonic() - start, int((self.folder / "changes").read_text())
            self.whole[stage.name] = Undisturbed(before, digests(self.work), changes, seconds, losses(said))

    def kill(self, stage: KillStage, rng: np.random.Generator) -> Outcome:
        """Kill a stage once or twice, then let it end."""
        whole, moments = self.whole[stage.name], list[str]()
        wanted = int(rng.integers(1, 3))
        while len(moments) < wanted:
            if not moments:
                shutil.rmtree(self.work)
                shutil.copytree(whole.before, self.work)
            by_time = not moments and rng.random() < 0.4
            at, seconds = int(rng.integers(1, whole.changes + 1)), float(rng.random() * whole.seconds)
            status, said = self.run(stage, 0, seconds) if by_time else self.run(stage, at)
            if status == KILLED:
                moments.append(f"after {seconds:.2f} s" if by_time else f"before change {at} of {whole.changes}")
            elif status != 0:
                return Outcome(stage.name, moments, [f"refused: {said.strip()[-400:]}"])
            elif moments:
                break  # the first kill left less to do than the second one waited for
        status, said = self.run(stage)
        if status:
            return Outcome(stage.name, moments, [f"refused: {said.strip()[-400:]}"])
        return Outcome(stage.name, moments, self._faults(whole, losses(said)))

    def _faults(self, whole: Undisturbed, again: Dict[int, Any]) -> List[str]:
        now, then = digests(self.work), whole.files
        named = {path for path in {*now, *then} if now.get(path) != then.get(path)}
        faults = [f"{path}: {_difference(path, now, then)}" for path in sorted(named)]
        return faults + [f"losses of update {n}" for n, loss in again.items() if loss != whole.losses.get(n)]


def _difference(path: str, now: Dict[str, str], then: Dict[str, str]) -> str:
    return "other bytes" if path in now and path in then else "left behind" if path in now else "missing"


def in_turns(stages: List[KillStage]) -> Iterator[KillStage]:
    """The stages round by round, without end; those that take long in some rounds only."""
    for number in itertools.count():
        yield from (stage for stage in stages if number % stage.every == 0)


def table(outcomes: List[Outcome]) -> str:
    """Stage × kills × outcome, as Markdown."""
    kills, runs, good = Counter[str](), Counter[str](), Counter[str]()
    for one in outcomes:
        runs[one.stage] += 1
        kills[one.stage] += len(one.moments)
        good[one.stage] += not one.faults
    rows = [f"| {stage} | {kills[stage]} | {runs[stage]} | {good[stage]} |" for stage in runs]
    total = f"| all | {kills.total()} | {runs.total()} | {good.total()} |"
    return "\n".join(["| stage | kills | runs | same as undisturbed |", "| --- | --- | --- | --- |", *rows, total])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="at least so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[one.name for one in STAGES], help="stages to kill (default: all)")
    options = parser.parse_args()
    rng, outcomes, killed = np.random.default_rng(options.seed), list[Outcome](), 0
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder))
        soak.prepare(STAGES)
        print(
            *(f"{name}: {w.changes} changes, {w.seconds:.1f} s" for name, w in soak.whole.items()), sep="\n", flush=True
        )
        for stage in in_turns([one for one in STAGES if one.name in options.only]):
            if killed >= options.kills:
                break
            outcome = soak.kill(stage, rng)
            outcomes.append(outcome)
            killed += len(outcome.moments)
            print(
                f"{killed}: {outcome.stage}, {', '.join(outcome.moments)}: {outcome.faults or 'the same'}", flush=True
            )
    print(table(outcomes))
    raise SystemExit(any(one.faults for one in outcomes))


if __name__ == "__main__":
    main()
