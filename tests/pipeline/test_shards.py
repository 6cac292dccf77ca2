"""Shards: cut, killed, redone, merged to the same bytes; submitit's local executor; memory."""

import functools
import json
import operator
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.errors import InputError
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.manifests.audio_manifest import Recording, read_audio_manifest, with_speeds, write_audio_manifest
from sld_user_dir.manifests.rejected import read_rejected, rejected_path
from sld_user_dir.pipeline.executor import ExecutorConfig, run_job
from sld_user_dir.pipeline.kmeans_job import TrainConfig, TrainJob, choose_recordings
from sld_user_dir.pipeline.shards import ShardError, join_tables, shard_of
from sld_user_dir.pipeline.stream import Framed, StreamConfig, speaker_stats, stream_frames
from sld_user_dir.pipeline.table_jobs import ExtractJob, parse_header

ROOT = Path(__file__).parents[2]
FEATURES = FeatureConfig(sample_rate_hz=8000, normalise="speaker", stack=2)


def corpus(folder, n=23, n_samples=4000):
    """An audio manifest of noise, one recording broken, one without text, three speakers."""
    rows = []
    for i in range(n):
        path = folder / f"u{i:02}.wav"
        soundfile.write(path, 0.1 * np.random.default_rng(i).standard_normal(n_samples + 97 * i), 8000)
        rows.append(Recording(f"u{i:02}", path, n_samples + 97 * i, 8000, f"text {i}" if i != 8 else "", f"s{i % 3}"))
    if n > 5:
        (folder / "u05.wav").write_bytes(b"broken since")
    write_audio_manifest(folder / "audio.tsv", rows, folder)
    return folder / "audio.tsv"


@pytest.fixture
def job(tmp_path):
    audio = corpus(tmp_path)
    front = build_front_end(FEATURES)
    centroids = np.random.default_rng(0).standard_normal((12, front.dim)).astype(np.float32)
    KMeans(centroids, {"encoder": front.encoder, "features": FEATURES.to_dict()}).save(tmp_path / "k.npz")

    def make(out, n_shards, **options):
        return ExtractJob(tmp_path / out, n_shards, audio, tmp_path / "k.npz", device="cpu", **options)

    return make


@pytest.mark.parametrize("n_items, n", [(0, 3), (1, 3), (7, 3), (9, 3), (10, 1)])
def test_shards_cover_everything_once(n_items, n):
    items = list(range(n_items))
    parts = [list(shard_of(items, i, n)) for i in range(n)]
    assert functools.reduce(operator.iadd, parts, []) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    with pytest.raises(ValueError, match="count from 0"):
        shard_of(items, n, n)


def test_any_number_of_shards_gives_the_same_bytes(job):
    outputs = set()
    for n in (1, 4, 30):  # 30: some are empty
        one = job(f"units{n}.tsv", n)
        assert run_job(one, ExecutorConfig(shards=n))
        outputs.add(one.out.read_bytes() + one.out.with_suffix(".rejected.tsv").read_bytes())
        assert not one.out.with_name(f"{one.out.name}.shards").exists()
    assert len(outputs) == 1
    rejected = one.out.with_suffix(".rejected.tsv").read_text().splitlines()[1:]
    assert [line.split("\t")[0] for line in rejected] == ["u05", "u08"]


@pytest.mark.parametrize("n_shards", [1, 3])
def test_the_log_names_the_table_that_stays(n_shards, job, caplog):
    one = job("units.tsv", n_shards)
    run_job(one, ExecutorConfig(shards=n_shards))
    table = one.out.with_suffix(".rejected.tsv")
    assert f"recordings left out, named in {table}" in caplog.text and table.exists()
    assert not [line for line in caplog.messages if ".shards" in line]


def test_a_killed_shard_is_redone_and_the_others_are_not(job, tmp_path, monkeypatch):
    whole = job("whole.tsv", 1)
    run_job(whole, ExecutorConfig())
    broken = job("units.tsv", 4)
    real = ExtractJob.write_shard

    def killed(self, index, path):
        if index == 2:
            path.with_name(".half.part").write_text("half a shard")
            raise KeyboardInterrupt
        real(self, index, path)

    monkeypatch.setattr(ExtractJob, "write_shard", killed)
    with pytest.raises(KeyboardInterrupt):
        run_job(broken, ExecutorConfig(shards=4))
    monkeypatch.setattr(ExtractJob, "write_shard", real)
    assert broken.pending() == [2, 3]
    with pytest.raises(ShardError, match=r"shards \[2, 3\] of 4 are missing"):
        broken.finish()
    before = {i: broken.shard_path(i).stat().st_mtime_ns for i in (0, 1)}
    broken.run_shard(0)
    broken.run_shard(2)
    assert {i: broken.shard_path(i).stat().st_mtime_ns for i in (0, 1)} == before
    assert run_job(broken, ExecutorConfig(shards=4))
    assert broken.out.read_bytes() == whole.out.read_bytes()


def test_finished_work_is_not_done_again_but_changed_work_is(job):
    first = job("units.tsv", 2)
    run_job(first, ExecutorConfig(shards=2))
    stamp = first.out.stat().st_mtime_ns
    assert job("units.tsv", 3).pending() == []
    run_job(job("units.tsv", 3), ExecutorConfig(shards=3))
    assert first.out.stat().st_mtime_ns == stamp
    changed = job("units.tsv", 2, deduplicated=True)
    assert changed.pending() == [0, 1]
    run_job(changed, ExecutorConfig(shards=2))
    assert b'"deduplicated": true' in changed.out.read_bytes()


def mend(folder, name="u05", seconds_ago=3600):
    """Put the whole recording in its place, as old as where it was copied from."""
    number = int(name[1:])
    wave = 0.1 * np.random.default_rng(number).standard_normal(4000 + 97 * number)
    soundfile.write(folder / f"{name}.wav", wave, 8000)
    then = time.time() - seconds_ago
    os.utime(folder / f"{name}.wav", (then, then))


def ids(path):
    return [line.split("\t")[0] for line in path.read_text().splitlines()]


def as_new(job, n_shards):
    """What a run that finds no former one makes: the output, and the table of what is left out."""
    new = job("new.tsv", n_shards)
    run_job(new, ExecutorConfig())
    return new.out.read_bytes(), rejected_path(new.out).read_bytes()


@pytest.mark.parametrize("n_shards", [1, 3])
@pytest.mark.parametrize("gone", [False, True], ids=["broken", "gone"])
def test_a_recording_that_was_mended_in_its_place_is_taken_in(gone, n_shards, job, tmp_path, caplog):
    if gone:
        (tmp_path / "u05.wav").unlink()
    made = job("units.tsv", n_shards)
    run_job(made, ExecutorConfig())
    assert "u05" not in ids(made.out)
    mend(tmp_path)
    run_job(job("units.tsv", n_shards), ExecutorConfig())
    assert f"that it left out have changed since: {tmp_path}/u05.wav; it is made again" in caplog.text
    assert "u05" in ids(made.out)
    assert (made.out.read_bytes(), rejected_path(made.out).read_bytes()) == as_new(job, n_shards)


def test_a_recording_that_was_mended_after_a_kill_is_taken_in_by_the_run_after_the_next(job, tmp_path, caplog):
    """Shards before and after it would differ in the statistics of its speaker."""
    killed = job("units.tsv", 4)
    for index in range(3):
        killed.run_shard(index)
    mend(tmp_path)
    assert killed.pending() == [3]
    run_job(killed, ExecutorConfig())
    assert f"that it left out have changed meanwhile: {tmp_path}/u05.wav; run again to take them in" in caplog.text
    run_job(job("units.tsv", 4), ExecutorConfig())
    assert (killed.out.read_bytes(), rejected_path(killed.out).read_bytes()) == as_new(job, 4)


@pytest.mark.parametrize("step", ["write_shard", "merge"])
def test_a_recording_that_was_mended_meanwhile_is_taken_in_by_the_next_run(step, job, tmp_path, monkeypatch, caplog):
    real = getattr(ExtractJob, step)

    def mended_meanwhile(self, *arguments):
        real(self, *arguments)
        mend(tmp_path)

    monkeypatch.setattr(ExtractJob, step, mended_meanwhile)
    made = job("units.tsv", 1)
    run_job(made, ExecutorConfig())
    assert f"that it left out have changed meanwhile: {tmp_path}/u05.wav; run again to take them in" in caplog.text
    assert "u05" not in ids(made.out)
    monkeypatch.setattr(ExtractJob, step, real)
    run_job(job("units.tsv", 1), ExecutorConfig())
    assert "u05" in ids(made.out)


def test_copies_of_what_was_left_out_are_no_reason_to_begin_anew(job, tmp_path, caplog):
    """Archives keep the seconds of a time, and not what is below; other permissions that still let it be read."""
    made = job("units.tsv", 2)
    run_job(made, ExecutorConfig())
    stamp = made.out.stat().st_mtime_ns
    broken = tmp_path / "u05.wav"
    seconds = int(broken.stat().st_mtime)
    shutil.copy(broken, tmp_path / "copy")
    (tmp_path / "copy").replace(broken)
    os.utime(broken, (seconds, seconds))
    broken.chmod(0o600)
    run_job(job("units.tsv", 2), ExecutorConfig())
    assert made.out.stat().st_mtime_ns == stamp
    assert "changed" not in caplog.text and "newer" not in caplog.text


def test_what_was_left_out_need_not_be_there_any_more(job, tmp_path):
    """Nor where the shards are merged: a cluster's nodes may see more than the machine in front of it."""
    made = job("units.tsv", 2)
    made.run_shard(0)
    made.run_shard(1)
    (tmp_path / "u05.wav").unlink()
    run_job(made, ExecutorConfig())
    assert job("units.tsv", 2).is_done()


def test_a_mark_of_before_that_says_nothing_of_what_was_left_out_counts(job, tmp_path):
    made = job("units.tsv", 2)
    run_job(made, ExecutorConfig())
    (tmp_path / "units.tsv.job").write_text(made.key + "\n")
    assert job("units.tsv", 2).is_done()


def test_recordings_that_are_newer_than_the_output_are_said(job, tmp_path, caplog):
    made = job("units.tsv", 2)
    run_job(made, ExecutorConfig())
    before = made.out.read_bytes()
    (tmp_path / "u01.wav").write_bytes(b"")
    later = time.time() + 60
    os.utime(tmp_path / "u01.wav", (later, later))
    run_job(job("units.tsv", 2), ExecutorConfig())
    assert f"units.tsv: 1 recordings are newer than it: {tmp_path}/u01.wav; if their sound has changed" in caplog.text
    assert f"remove {made.out}.job and run again" in caplog.text and made.out.read_bytes() == before
    (tmp_path / "units.tsv.job").unlink()
    run_job(job("units.tsv", 2), ExecutorConfig())
    assert "u01" not in ids(made.out)


def test_one_shard_by_hand(job):
    one = job("units.tsv", 2)
    assert not run_job(one, ExecutorConfig(shards=2, shard=1))
    assert one.pending() == [0]
    with pytest.raises(InputError, match="--shard 2: no such one of 2 shards; count from 0 to 1"):
        run_job(one, ExecutorConfig(shards=2, shard=2))
    with pytest.raises(InputError, match=r"--executor cloud: no such executor; choose one of inline, local, slurm"):
        run_job(one, ExecutorConfig(executor="cloud"))


def test_tables_of_other_headers_do_not_join(tmp_path):
    (tmp_path / "a").write_text("id\tx\n1\t2\n")
    (tmp_path / "b").write_text("id\ty\n1\t2\n")
    with pytest.raises(ShardError, match="another header"):
        join_tables([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_kmeans_does_not_depend_on_shards(tmp_path):
    audio = corpus(tmp_path)
    config = TrainConfig(num_units=10, max_iterations=5, device="cpu", max_frames=300)
    hashes = set()
    for n in (1, 3):
        job = TrainJob(tmp_path / f"k{n}.npz", n, audio, FEATURES, config)
        run_job(job, ExecutorConfig(shards=n))
        kmeans = KMeans.load(job.out)
        table = rejected_path(job.out).read_text()
        hashes.add((kmeans.sha256, table))
    assert len(hashes) == 1
    (rejected,) = table.splitlines()[1:]  # u05 is broken; that u08 has no text is no matter here
    assert rejected.startswith("u05\t") and "not readable as audio" in rejected
    assert kmeans.metadata["training"]["n_frames"] == 300
    assert kmeans.metadata["quality"]["held_out_frames"] > 0
    assert kmeans.metadata["encoder"] == build_front_end(FEATURES).encoder


def test_another_recording_is_held_out_where_none_of_those_can_be_used(tmp_path, caplog):
    audio, front_end = corpus(tmp_path), build_front_end(FEATURES)
    write_audio_manifest(audio, with_speeds(read_audio_manifest(audio), [1.0, 0.9]), tmp_path)
    config = TrainConfig(num_units=10, max_iterations=5, device="cpu", max_frames=600)
    held_out, train = choose_recordings(read_audio_manifest(audio), front_end, config)
    cut = {one.path for one in (*held_out, train[0])}
    for path in cut:
        path.write_bytes(path.read_bytes()[:2000])
    found = set()
    for n in (1, 3, 30):
        job = TrainJob(tmp_path / f"k{n}.npz", n, audio, FEATURES, config)
        run_job(job, ExecutorConfig(shards=n))
        kmeans = KMeans.load(job.out)
        found.add((kmeans.sha256, json.dumps(kmeans.metadata), rejected_path(job.out).read_text()))
    assert len(found) == 1
    left_out = read_rejected(rejected_path(job.out))
    assert {one.path for one in left_out} == {*cut, tmp_path / "u05.wav"} and len(left_out) == 2 * len({*cut, 5})
    moved = next(one.path for one in train if one.path not in {one.path for one in left_out})
    said = f"none of {len(held_out)} recordings held out for the report can be used: {moved} is held out instead"
    assert said in caplog.text
    frames_of = {True: 0, False: 0}
    for one in stream_frames(train, front_end, StreamConfig(), speaker_stats(train, front_end, StreamConfig())):
        if isinstance(one, Framed):
            frames_of[one.recording.path == moved] += len(one.frames)
    assert kmeans.metadata["quality"]["held_out_frames"] == frames_of[True]
    assert kmeans.metadata["frames_seen"] == frames_of[False]
    assert 500 < kmeans.metadata["training"]["n_frames"] < 600  # of the 600 drawn some were of that recording


def test_what_is_said_where_only_the_held_out_recording_can_be_used(tmp_path):
    audio = corpus(tmp_path, n=2)
    config = TrainConfig(num_units=10, device="cpu")
    held_out, train = choose_recordings(read_audio_manifest(audio), build_front_end(FEATURES), config)
    for broken in (*train, *held_out):
        content = broken.path.read_bytes()
        broken.path.write_bytes(b"broken since")
        job = TrainJob(tmp_path / "k.npz", 1, audio, FEATURES, config)
        with pytest.raises(InputError, match=r"none is left to learn from.* held out .*; 1 are left out: not readable"):
            run_job(job, ExecutorConfig())
        broken.path.write_bytes(content)


def test_submitit_local_executor(job, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    inline, local = job("inline.tsv", 1), job("local.tsv", 2)
    run_job(inline, ExecutorConfig())
    local.run_shard(0)  # is there already
    run_job(local, ExecutorConfig(executor="local", shards=2, logs=str(tmp_path / "logs")))
    assert local.out.read_bytes() == inline.out.read_bytes()
    assert len(list((tmp_path / "logs").glob("*_submitted.pkl"))) == 1


def test_submitit_names_the_shard_that_failed(job, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    bad = job("units.tsv", 2)
    bad.run_shard(1)
    bad.key  # noqa: B018  (the fingerprint is taken before the file goes)
    (tmp_path / "k.npz").write_text("damaged")
    with pytest.raises(ShardError, match=r"1 shards failed; .*shard 0: .*not a k-means file.*log: "):
        run_job(bad, ExecutorConfig(executor="local", shards=2, logs=str(tmp_path / "logs")))
    assert bad.pending() == [0]


MEASURE = """
import json, sys
from pathlib import Path
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.pipeline.executor import ExecutorConfig, run_job
from sld_user_dir.pipeline.table_jobs import ExtractJob
from sld_user_dir.pipeline.stream import StreamConfig
from sld_user_dir.pipeline.kmeans_job import TrainConfig, TrainJob, peak_memory_bytes
audio, out, stage, bound = sys.argv[1:]
Path("/proc/self/clear_refs").write_text("5")
stream = StreamConfig(window_seconds=30, max_seconds=30)
if stage == "train":
    config = TrainConfig(num_units=100, max_iterations=5, device="cpu", memory_gib=float(bound), max_frames=10**7)
    features = FeatureConfig(sample_rate_hz=8000)
    job = TrainJob(Path(out), 1, Path(audio), features, config, stream)
else:
    job = ExtractJob(Path(out), 1, Path(audio), Path(bound), device="cpu", stream=stream)
run_job(job, ExecutorConfig())
print(peak_memory_bytes())
"""


def peak_mib(audio, out, stage, bound):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(audio), str(out), stage, str(bound)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1]) / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no VmHWM on this system")
def test_memory_stays_bounded_when_the_input_grows_tenfold(tmp_path):
    figures = {}
    for size, n in (("one", 100), ("ten", 1000)):
        folder = tmp_path / size
        folder.mkdir()
        audio = corpus(folder, n, n_samples=80_000)
        bound_gib = 0.75
        figures[f"train {size}"] = peak_mib(audio, folder / "k.npz", "train", bound_gib)
        figures[f"extract {size}"] = peak_mib(audio, folder / "u.tsv", "extract", folder / "k.npz")
    print(json.dumps(figures))
    assert figures["train ten"] <= bound_gib * 1024
    assert figures["extract ten"] <= figures["extract one"] + 60


def test_further_header_lines_are_key_and_value():
    assert parse_header(["license=CC BY-SA 4.0", "year=2019"]) == {"license": "CC BY-SA 4.0", "year": 2019}
    with pytest.raises(InputError, match="--header license: not KEY=VALUE; write it like license=CC0"):
        parse_header(["license"])
    with pytest.raises(InputError, match=r"--header license=caf\\xe9: is not UTF-8; write it in UTF-8, on one line"):
        parse_header(["license=caf\udce9"])
    with pytest.raises(InputError, match=r"--header note=\"\\ud800\": is not UTF-8"):
        parse_header([r'note="\ud800"'])
    with pytest.raises(InputError, match=r"--header a\\nb=1: contains a line break"):
        parse_header(["a\nb=1"])
    assert parse_header(["note=a\nb"]) == {"note": "a\nb"}


def test_one_recording_is_too_few_to_learn_from():
    front = build_front_end(FEATURES)
    with pytest.raises(InputError, match="1 recordings, but at least two files are needed: one is held out"):
        choose_recordings([Recording("a", Path("a.wav"))], front, TrainConfig())
