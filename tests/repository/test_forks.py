"""The forks that tests run fairseq's programs in are processes like any other."""

import os
import subprocess
from pathlib import Path

import pytest
from support.forks import TimedOut, forwarding_programs, run_forked, run_fresh
from support.miniature import ROOT

from sld_user_dir.commands import overview


def run_both(*words: str) -> list:
    return [run(words, ROOT, dict(os.environ)) for run in (run_forked, run_fresh)]


@pytest.mark.parametrize("words", [["sld"], ["sld", "kmean"], ["sld", "score"], ["fairseq-train", "nowhere"]])
def test_a_fork_says_and_returns_what_a_fresh_interpreter_does(words):
    forked, fresh = run_both(*words)
    assert (forked.returncode, forked.stdout) == (fresh.returncode, fresh.stdout)
    assert forked.stderr.splitlines()[-1:] == fresh.stderr.splitlines()[-1:]


def test_a_fork_that_takes_too_long_is_killed():
    with pytest.raises(TimedOut, match=r"fairseq-train --help took more than 0\.01 s"):
        run_forked(["fairseq-train", "--help"], ROOT, dict(os.environ), seconds=0.01)
    assert run_forked(["sld"], ROOT, dict(os.environ)).stdout == overview() + "\n"


def test_forwarding_programs_have_the_callers_streams_folder_and_status(tmp_path: Path):
    programs = forwarding_programs(tmp_path / "bin", "sld")
    (tmp_path / "r.txt").write_text("one two\n")
    command = (
        '"$0"/sld score --references r.txt --hypotheses r.txt --json x.json >out 2>err; echo $?; "$0"/sld x; echo $?'
    )
    done = subprocess.run(["bash", "-c", command, programs], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "0\n1\n" and done.stderr.startswith("sld: x: no such command")
    assert "WER" in (tmp_path / "out").read_text() and (tmp_path / "x.json").exists()
