"""Stages that are killed before a random change of a file, and run again; `make soak` kills a hundred."""

import numpy as np
import pytest
from support.kill_digests import digests
from support.kill_runs import Outcome, Soak, Undisturbed, table
from support.kill_stages import STAGES, WRITES_NOTHING
from support.miniature import ROOT

from sld_user_dir.commands import COMMANDS

FAST = STAGES[:3]


def killed_and_run_again(folder, stages, rounds: int) -> list:
    soak, rng = Soak(folder), np.random.default_rng(5)
    soak.prepare(stages)
    return [soak.kill(stage, rng) for _ in range(rounds) for stage in stages]


def test_stages_go_on_after_a_kill(tmp_path):
    """Manifest, k-means and units: shards, tables of what was left out, marks."""
    outcomes = killed_and_run_again(tmp_path, FAST, 1)
    assert sum(len(one.moments) for one in outcomes) >= len(FAST)
    assert not [one for one in outcomes if one.faults]


@pytest.mark.slow
def test_every_stage_goes_on_after_a_kill(tmp_path):
    outcomes = killed_and_run_again(tmp_path, STAGES, 1)
    assert {one.stage for one in outcomes} == {stage.name for stage in STAGES}
    assert not [one for one in outcomes if one.faults]


def test_every_command_is_killed_or_writes_nothing():
    """A new command needs its line in `support/kill_stages.py`."""
    killed = {stage.sld_command for stage in STAGES if stage.sld_command in COMMANDS}
    assert killed | {*WRITES_NOTHING} == {*COMMANDS} and not killed & {*WRITES_NOTHING}
    for name in WRITES_NOTHING:
        source = (ROOT / "sld_user_dir" / "commands" / f"{name}.py").read_text()
        assert "atomic_path" not in source and "out: " not in source, f"sld {name} has an output: kill it"


def test_what_differs_is_named(tmp_path):
    """The comparison finds what is missing, left behind and other."""
    soak = Soak(tmp_path)
    for name in ("same", "other", "missing"):
        (soak.work / name).write_text(name)
    whole = Undisturbed(tmp_path, digests(soak.work), 1, 1.0, {1: 0.5})
    (soak.work / "missing").unlink()
    (soak.work / "other").write_text("another")
    (soak.work / ".left.part").write_text("left")
    assert soak._faults(whole, {1: 0.25}) == [
        ".left.part: left behind",
        "missing: missing",
        "other: other bytes",
        "losses of update 1",
    ]
    rows = table([Outcome("units", ["after 1 s"], []), Outcome("units", ["after 1 s", "before 2"], ["x"])])
    assert "| units | 3 | 2 | 1 |" in rows
