"""Shards on a real SLURM of one node, where one is installed; its queue's answers, everywhere."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from support.miniature import ROOT
from support.slurm_cluster import slurm_cluster, why_not
from test_shards import FEATURES, corpus

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.manifests.rejected import rejected_path
from sld_user_dir.pipeline import executor


@pytest.mark.parametrize(
    "answers, lost",
    [
        ([{"7_0", "7_1"}, {"7_0"}, {"7_0"}], True),
        ([{"7_1"}, {"7_1"}, {"7_1"}], False),
        ([{"7_0"}, None, None], False),  # SLURM does not answer: nothing is known
        ([{"7_0"}, None, {"7_0"}], False),
    ],
)
def test_a_job_is_lost_when_it_stays_out_of_the_queue(monkeypatch, answers, lost):
    now = [0.0]
    monkeypatch.setattr(executor.time, "monotonic", lambda: now[0])
    asked = iter(answers)
    monkeypatch.setattr(executor, "_queued_jobs", lambda: next(asked))
    queue = executor.SlurmQueue()
    assert not queue.has_lost("7_1")
    now[0] += executor.QUEUE_INTERVAL_SECONDS + 1
    assert not queue.has_lost("7_1")  # just missed: its result may still come
    now[0] += executor.QUEUE_GRACE_SECONDS + 1
    assert queue.has_lost("7_1") is lost


def test_no_squeue_is_no_answer(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert executor._queued_jobs() is None


@pytest.fixture(scope="module")
def slurm():
    if why_not():
        pytest.skip(why_not())
    with slurm_cluster() as environment:
        yield {**os.environ, **environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def running(environment, ending):
    """Id of the running job whose id ends so, or None."""
    command = ["squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i"]
    ids = subprocess.run(command, capture_output=True, text=True, env=environment).stdout.split()
    return next((one for one in ids if one.endswith(ending)), None)


@pytest.mark.slow
def test_a_shard_killed_on_slurm_is_redone_and_the_others_are_not(slurm, tmp_path):
    audio, front = corpus(tmp_path), build_front_end(FEATURES)
    centroids = np.random.default_rng(0).standard_normal((12, front.dim)).astype(np.float32)
    KMeans(centroids, {"encoder": front.encoder, "features": FEATURES.to_dict()}).save(tmp_path / "k.npz")

    def extract(name, *options):
        command = [sys.executable, "-m", "sld_user_dir", "units", "--audio", audio, "--kmeans", tmp_path / "k.npz"]
        command += ["--out", tmp_path / name, "--device", "cpu", "--logs", tmp_path / "logs", *options]
        return subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True, env=slurm)

    on_slurm = ["--executor", "slurm", "--shards", "3", "--parallel", "1", "--cpus", "1", "--memory-gb", "1"]
    first = extract("slurm.tsv", *on_slurm)
    deadline = time.time() + 120
    while not (victim := running(slurm, "_1")):  # one at a time: the second shard
        assert time.time() < deadline and first.poll() is None, first.stderr.read()
        time.sleep(0.1)
    subprocess.run(["scancel", victim], check=True, env=slurm)
    said = first.communicate(timeout=300)[1]
    print(said)
    assert first.returncode == 1
    assert "1 shards failed; run again, it makes these only. shard 1: SLURM ended it without a result" in said
    (folder,) = (tmp_path / "slurm.tsv.shards").iterdir()
    assert sorted(p.name for p in folder.glob("?????.tsv")) == ["00000.tsv", "00002.tsv"]
    assert not (tmp_path / "slurm.tsv").exists()

    second = extract("slurm.tsv", *on_slurm)
    said = second.communicate(timeout=300)[1]
    print(said)
    assert second.returncode == 0 and "1 of 3 shards to make (slurm)" in said
    assert len(list((tmp_path / "logs").glob("*_submitted.pkl"))) == 3 + 1

    inline = extract("inline.tsv")
    assert inline.communicate(timeout=300) and inline.returncode == 0
    for of in (lambda path: path, rejected_path):
        assert of(tmp_path / "slurm.tsv").read_bytes() == of(tmp_path / "inline.tsv").read_bytes()
