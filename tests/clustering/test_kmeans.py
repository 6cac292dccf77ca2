"""k-means: fit, files, sampling within a bound, quality, devices."""

import json

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from sld_user_dir.clustering.assign import CpuAssigner, TorchAssigner
from sld_user_dir.clustering.faiss_device import resolve_gpus
from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.kmeans_file import FORMAT, Centroids, KMeansError
from sld_user_dir.clustering.quality import UNLABELLED, fit_report, frame_labels, label_report, read_ctm, usage_report
from sld_user_dir.clustering.relocate import relocate
from sld_user_dir.clustering.sample import FrameSample, merge_file, plan_memory, save_sample
from sld_user_dir.clustering.unit_sequences import feature_config_of
from sld_user_dir.devices import DeviceError
from sld_user_dir.errors import InputError
from sld_user_dir.pipeline.kmeans_job import TrainConfig


def clouds(n_clouds=8, each=50, dim=5, seed=0):
    rng = np.random.default_rng(seed)
    centres = 20 * rng.standard_normal((n_clouds, dim))
    points = np.repeat(centres, each, axis=0) + rng.standard_normal((n_clouds * each, dim))
    return points.astype(np.float32), np.repeat(np.arange(n_clouds), each)


def slow_inertia(frames, centroids):
    return float(((frames[:, None] - centroids[None]) ** 2).sum(axis=2).min(axis=1).mean())


@pytest.mark.parametrize("start", ["kmeans++", "afk-mc2"])
def test_finds_separate_clouds(start):
    points, labels = clouds()
    kmeans = KMeans.fit(points, 8, start=start, device="cpu")
    assert label_report(kmeans.assign(points), labels)["pnmi"] > 0.99
    assert kmeans.metadata["training"]["inertia"] == pytest.approx(slow_inertia(points, kmeans.centroids), rel=1e-3)


def test_same_seed_same_bytes(tmp_path):
    points, _ = clouds()
    for name in "ab":
        KMeans.fit(points, 10, seed=3, device="cpu", metadata={"encoder": "mfcc"}).save(tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert KMeans.fit(points, 10, seed=4, device="cpu").sha256 != KMeans.load(tmp_path / "a.npz").sha256


def test_file_round_trips(tmp_path):
    points, _ = clouds()
    kmeans = KMeans.fit(points, 8, device="cpu", metadata={"features": {"stack": 4}})
    kmeans.save(tmp_path / "k.npz")
    loaded = KMeans.load(tmp_path / "k.npz")
    np.testing.assert_array_equal(loaded.centroids, kmeans.centroids)
    assert (loaded.sha256, loaded.metadata) == (kmeans.sha256, kmeans.metadata)
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob(".*"))


def test_bad_files_are_errors(tmp_path):
    with pytest.raises(KMeansError, match="no such file"):
        KMeans.load(tmp_path / "gone.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "pickled.npz", centroids=np.zeros((2, 2)), metadata=np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "other.npz", centroids=np.zeros((2, 2)), metadata=np.array("{}"))
    for name, values in (("flat", np.zeros(4)), ("none", np.zeros((0, 2))), ("nan", np.full((2, 2), np.nan))):
        Centroids.save(tmp_path / f"{name}.npz", values, {})
    ours = np.array(json.dumps({"format": FORMAT}))
    np.savez(tmp_path / "words.npz", centroids=np.array([["a", "b"]]), metadata=ours)
    for name in ("text", "pickled", "other", "flat", "none", "nan", "words"):
        with pytest.raises(KMeansError, match=rf"{name}\.npz: .*train one"):
            KMeans.load(tmp_path / f"{name}.npz")


def test_no_cluster_stays_empty():
    """Forty distinct points, one of them in nearly all the data: random starts leave holes."""
    distinct = 5 * np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    points = np.concatenate([distinct, np.repeat(distinct[:1], 2000, axis=0)])
    for start in ("kmeans++", "random"):
        kmeans = KMeans.fit(points, 40, start=start, device="cpu")
        assert len(np.unique(kmeans.assign(points))) == 40
    with pytest.raises(KMeansError, match="41 clusters stay empty: 2040 frames, 40 of them distinct"):
        KMeans.fit(points, 41, device="cpu")


def test_centroids_move_to_where_they_are_needed():
    rng = np.random.default_rng(0)
    clouds = 100 * rng.standard_normal((8, 5)).astype(np.float32)
    frames = np.repeat(clouds, 50, axis=0) + rng.standard_normal((400, 5)).astype(np.float32)
    crowded = frames[:8]  # all in the first cloud, where Lloyd's iterations leave most of them

    def lloyd(centroids, iterations=3):
        for _ in range(iterations):
            nearest = ((frames[:, None] - centroids) ** 2).sum(2).argmin(1)
            means = [frames[nearest == k].mean(0) if (nearest == k).any() else centroids[k] for k in range(8)]
            centroids = np.array(means, dtype=np.float32)
        return centroids

    def inertia(centroids):
        return ((frames[:, None] - centroids) ** 2).sum(2).min(1).mean()

    assert inertia(lloyd(crowded, 30)) > 1000
    assert inertia(relocate(frames, crowded, lloyd, seed=0)) < 10
    settled = lloyd(clouds)
    np.testing.assert_array_equal(relocate(frames, settled, lambda c: c + 1, seed=0), settled)  # no move helps


@pytest.mark.parametrize(
    "frames, units, message",
    [
        (np.zeros((3, 2)), 4, "3 frames cannot make 4"),
        (np.full((9, 2), np.nan), 2, "NaN"),
        (np.zeros(9), 2, "array"),
        (np.zeros((9, 2)), 0, "--num-units 0: no units; take at least 1"),
    ],
)
def test_impossible_frames_are_errors(frames, units, message):
    with pytest.raises(KMeansError, match=message):
        KMeans.fit(frames.astype(np.float32), units, device="cpu")


@pytest.mark.parametrize("assigner", [CpuAssigner, lambda c: TorchAssigner(c, "cpu")])
def test_assigners_find_the_nearest(assigner):
    rng = np.random.default_rng(0)
    centroids = rng.standard_normal((30, 7)).astype(np.float32) + 3
    utterances = [rng.standard_normal((n, 7)).astype(np.float32) + 3 for n in (3, 0, 1500, 1, 700)]
    slow = [((x[:, None] - centroids[None]) ** 2).sum(axis=2).argmin(axis=1) for x in utterances]
    for expected, units in zip(slow, assigner(centroids)(utterances)):
        assert units.dtype == np.int32 and units.shape == expected.shape
        assert (units == expected).mean() > 0.999 if len(units) else True


def test_wrong_dimensions_are_errors():
    kmeans = KMeans(np.zeros((3, 4), np.float32))
    with pytest.raises(KMeansError, match="do not fit centroids of 4"):
        kmeans.assign(np.zeros((2, 5), np.float32))
    with pytest.raises(KMeansError, match="NaN"):
        KMeans(np.full((2, 2), np.nan, np.float32))


def test_errors_name_the_file_that_the_centroids_are_from(tmp_path):
    KMeans(np.zeros((3, 4), np.float32)).save(tmp_path / "k.npz")
    with pytest.raises(KMeansError, match=r"k\.npz: frames of shape \(2, 5\) do not fit"):
        KMeans.load(tmp_path / "k.npz").assign(np.zeros((2, 5), np.float32))
    with pytest.raises(KMeansError, match=r"k\.npz: the k-means file does not tell its features; state them"):
        feature_config_of(KMeans.load(tmp_path / "k.npz"))


def test_one_loader_reads_both_ways(tmp_path):
    KMeans(clouds()[0][:6], {"encoder": "mfcc"}).save(tmp_path / "k.npz")
    ours, plain = KMeans.load(tmp_path / "k.npz"), Centroids.load(tmp_path / "k.npz")
    np.testing.assert_array_equal(ours.centroids, plain.values)
    assert (ours.sha256, ours.metadata, ours.path) == (plain.sha256, plain.metadata, plain.path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_units": 0}, "--num-units 0: nothing can be learnt; take at least 1"),
        ({"max_iterations": 0}, "--max-iterations 0: nothing"),
        ({"max_frames": 0}, "--max-frames 0: nothing"),
        ({"start": "middle"}, r"--start middle: no such start; choose one of kmeans\+\+, afk-mc2, random"),
        ({"device": "tpu"}, "--device tpu: no such device"),
    ],
)
def test_impossible_training_is_refused_before_the_audio_is_read(options, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**options)


# ---- devices


def test_gpu_without_one_is_an_error():
    import faiss

    if faiss.get_num_gpus():
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match=r"--device cuda: .*--device cpu"):
        resolve_gpus("cuda")
    with pytest.raises(DeviceError, match=r"--device gpu: .*--device cpu"):  # the old word
        resolve_gpus("gpu")
    assert resolve_gpus("auto") == resolve_gpus("cpu") == 0
    with pytest.raises(DeviceError, match="choose auto, cpu, cuda"):
        resolve_gpus("tpu")


@pytest.mark.gpu
def test_gpu_finds_as_good_centroids():
    import faiss

    if not faiss.get_num_gpus():
        pytest.skip("no GPU")
    points, _ = clouds(each=200)
    on_gpu, on_cpu = (KMeans.fit(points, 16, device=d).metadata["training"]["inertia"] for d in ("cuda", "cpu"))
    assert on_gpu == pytest.approx(on_cpu, rel=0.05)


# ---- sampling


def utterances(n=60, dim=20):
    rng = np.random.default_rng(5)
    return {f"u{i}": rng.standard_normal((rng.integers(1, 40), dim)).astype(np.float32) for i in range(n)}


def test_sample_depends_on_neither_order_nor_shards(tmp_path):
    data = utterances()
    names = list(data)
    whole, shuffled, merged = (FrameSample(200, 20, seed=1) for _ in range(3))
    for name in names:
        whole.add(name, data[name])
    for name in reversed(names):
        shuffled.add(name, data[name])
    for i in range(3):
        shard = FrameSample(200, 20, seed=1)
        for name in names[i::3]:
            shard.add(name, data[name])
        save_sample(tmp_path / f"{i}.npz", train=shard)
        merge_file(tmp_path / f"{i}.npz", train=merged)
    keys, frames = whole.finish()
    assert frames.shape == (200, 20) and (np.diff(keys) > 0).all()
    for other in (shuffled, merged):
        np.testing.assert_array_equal(other.finish()[1], frames)
        assert other.seen == whole.seen == sum(map(len, data.values()))


@pytest.mark.parametrize("shards", [1, 4])
def test_a_recording_that_is_removed_leaves_the_sample_of_the_others(shards, tmp_path):
    data = utterances()
    names = list(data)
    all_of_others = FrameSample(10_000, 20, seed=1)
    sample = FrameSample(200, 20, seed=1)
    for i in range(shards):
        shard = FrameSample(200, 20, seed=1)
        for name in names[i::shards]:
            shard.add(name, data[name])
        save_sample(tmp_path / f"{i}.npz", train=shard)
        merge_file(tmp_path / f"{i}.npz", train=sample)
    for name in names[:20]:
        sample.remove(name, len(data[name]))
    for name in names[20:]:
        all_of_others.add(name, data[name])
    frames = sample.finish()[1]
    assert sample.seen == all_of_others.seen and 100 < len(frames) < 200
    np.testing.assert_array_equal(frames, all_of_others.finish()[1][: len(frames)])


def test_sample_holds_all_of_little_and_is_fair():
    sample = FrameSample(100, 2, seed=0)
    sample.add("a", np.ones((7, 2), np.float32))
    assert sample.finish()[1].shape == (7, 2)
    counts = np.zeros(10)
    for seed in range(300):
        sample = FrameSample(30, 1, seed)
        for i in range(10):
            sample.add(str(i), np.full((30, 1), i, np.float32))
        counts += np.bincount(sample.finish()[1][:, 0].astype(int), minlength=10)
    assert np.abs(counts / counts.sum() - 0.1).max() < 0.01  # 4 standard deviations


def test_memory_plan_fits_the_bound_or_refuses():
    plan = plan_memory(1 << 30, 768, 500, other_bytes=300 << 20, max_frames=10**9)
    assert plan.sample_bytes + plan.other_bytes <= 1 << 30
    assert plan.capacity > 150_000
    assert plan_memory(1 << 30, 768, 500, 300 << 20, max_frames=5000).capacity == 5000
    with pytest.raises(InputError, match="raise --memory-gib"):
        plan_memory(400 << 20, 768, 2000, 390 << 20, max_frames=10**9)


# ---- quality


def test_usage_of_even_and_single_units():
    even = usage_report(np.full(8, 10), 50.0)
    assert (even["perplexity"], even["bitrate"], even["used_units"]) == (pytest.approx(8), pytest.approx(150), 8)
    single = usage_report(np.array([5, 0, 0]), 50.0)
    assert (single["perplexity"], single["bitrate"], single["used_units"]) == (1, 0, 1)


def test_fit_report_measures_held_out_frames():
    points, _ = clouds()
    kmeans = KMeans.fit(points[::2], 8, device="cpu")
    report = fit_report(kmeans, points[1::2], 25.0)
    assert report["inertia"] == pytest.approx(slow_inertia(points[1::2], kmeans.centroids), rel=1e-3)
    assert 0.9 < report["explained_variance"] < 1


def test_labels_by_hand_and_by_scikit_learn():
    units, labels = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 1, 1, UNLABELLED])
    report = label_report(units, labels)
    assert report["labelled_frames"] == 5
    assert report["label_purity"] == pytest.approx(4 / 5)
    assert report["cluster_purity"] == pytest.approx(3 / 5)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 1000)
    units = (labels + (rng.random(1000) < 0.3)) * 2 + rng.integers(0, 2, 1000)
    expected = mutual_info_score(labels, units) / mutual_info_score(labels, labels)
    assert label_report(units, labels)["pnmi"] == pytest.approx(expected)
    with pytest.raises(InputError, match="--alignment: no frame is labelled; check"):
        label_report(units, np.full(1000, UNLABELLED))


def test_alignments_label_frames_by_their_middle(tmp_path):
    (tmp_path / "a.ctm").write_text(";; comment\nu1 1 0.00 0.05 AH\nu1 1 0.05 0.03 B\n")
    ids = {}
    labels = frame_labels(read_ctm(tmp_path / "a.ctm")["u1"], 5, 50.0, ids)
    assert labels.tolist() == [0, 0, 1, 1, UNLABELLED] and ids == {"AH": 0, "B": 1}
    (tmp_path / "b.ctm").write_text("u1 1 0.0 0.1 AH\nu1 AH\n")
    with pytest.raises(InputError, match=r"b\.ctm:2: not .*; see docs/units.md"):
        read_ctm(tmp_path / "b.ctm")
