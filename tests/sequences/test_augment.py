"""Augmentation of training units: what is drawn, from what, and that it depends on nothing else."""

import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.miniature import NUM_UNITS, fairseq_command, make_data, make_provenance, make_utterances, train
from support.tasks import setup

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.kmeans_file import Centroids, KMeansError
from sld_user_dir.losses.normalisation import UPDATE
from sld_user_dir.manifests.unit_manifest import Utterance, write_manifest
from sld_user_dir.sequences.augmentation import Augmentation

units = arrays.arrays(np.int32, st.integers(0, 30), elements=st.integers(0, 4))
options = st.fixed_dictionaries(
    {
        "dedup_prob": st.sampled_from([0.0, 0.5, 1.0]),
        "dedup_runs": st.booleans(),
        "substitution_prob": st.sampled_from([0.0, 0.3, 1.0]),
    }
)


def runs(sequence):
    return [(int(unit), len(list(group))) for unit, group in itertools.groupby(sequence.tolist())]


def random_units(seed, length=2000, num_units=NUM_UNITS):
    rng = np.random.default_rng(seed)
    return np.repeat(rng.integers(0, num_units, length), rng.integers(1, 4, length)).astype(np.int32)


@given(units=units, options=options, seed=st.integers(0, 99))
def test_never_longer_never_empty_never_in_place(units, options, seed):
    before = units.copy()
    result = Augmentation(num_units=5, seed=seed, **options)(units, 1, 0)
    assert np.array_equal(units, before)
    assert len(result) <= len(units) and bool(len(result)) == bool(len(units))
    assert result.dtype == units.dtype and np.isin(result, range(5)).all()


@pytest.mark.parametrize("level", [False, True])
def test_deduplication_with_certainty_leaves_no_repetition(level):
    sequence = random_units(0)
    result = Augmentation(NUM_UNITS, seed=1, dedup_prob=1.0, dedup_runs=level)(sequence, 1, 0)
    assert result.tolist() == [unit for unit, _ in runs(sequence)]


def test_deduplication_by_utterance_is_all_or_nothing():
    sequence, augment = random_units(0, length=20), Augmentation(NUM_UNITS, seed=1, dedup_prob=0.3)
    whole, collapsed = sequence.tolist(), [unit for unit, _ in runs(sequence)]
    results = [augment(sequence, 1, row).tolist() for row in range(2000)]
    assert all(result in (whole, collapsed) for result in results)
    assert results.count(collapsed) == pytest.approx(600, abs=80)  # 4 standard deviations


def test_deduplication_by_run_draws_for_each():
    sequence = random_units(0)
    result = Augmentation(NUM_UNITS, seed=1, dedup_prob=0.3, dedup_runs=True)(sequence, 1, 0)
    before, after = runs(sequence), runs(result)
    assert [unit for unit, _ in after] == [unit for unit, _ in before]
    assert all(now in (1, then) for (_, now), (_, then) in zip(after, before))
    long = [now for (_, now), (_, then) in zip(after, before) if then > 1]
    assert long.count(1) / len(long) == pytest.approx(0.3, abs=4 * (0.21 / len(long)) ** 0.5)


def test_substitution_reaches_every_other_unit_equally():
    sequence = np.full(20000, 3, dtype=np.int32)
    result = Augmentation(NUM_UNITS, seed=1, substitution_prob=0.4)(sequence, 1, 0)
    counts = np.bincount(result, minlength=NUM_UNITS)
    assert counts[3] / len(sequence) == pytest.approx(0.6, abs=4 * (0.24 / len(sequence)) ** 0.5)
    expected = 0.4 * len(sequence) / (NUM_UNITS - 1)
    assert np.delete(counts, 3) == pytest.approx(expected, abs=4 * expected**0.5)


def test_substitution_by_nearest_centroids():
    neighbours = np.array([[1, 2], [0, 2], [1, 0], [2, 1]])
    result = Augmentation(4, seed=1, substitution_prob=1.0, neighbours=neighbours)(np.full(400, 3), 1, 0)
    assert set(result.tolist()) == {1, 2}


@pytest.mark.parametrize("options", [{"dedup_prob": 0.5, "dedup_runs": True}, {"substitution_prob": 0.5}])
def test_draws_depend_on_seed_epoch_and_row_alone(options):
    sequence = random_units(0, length=50)

    def draw(seed=1, epoch=1, row=0):
        return Augmentation(NUM_UNITS, seed=seed, **options)(sequence, epoch, row).tolist()

    np.random.seed(5)
    first = draw()
    assert np.random.rand() == np.random.RandomState(5).rand()  # the global generator is left alone
    assert draw() == first
    assert len({tuple(other) for other in (first, draw(seed=2), draw(epoch=2), draw(row=1))}) == 4


# ------------------------------------------------------------------------------ by the task

AUGMENT = ["--dedup-prob", "0.5", "--dedup-level", "run", "--unit-substitution-prob", "0.3", "--seed", "3"]


def epochs(task, count, num_workers, offset=0, epoch=1):
    """Prompts by utterance, a dictionary for each epoch, of batches that a training would get."""
    iterator = task.get_batch_iterator(
        task.dataset("train"), max_tokens=60, seed=1, num_workers=num_workers, epoch=epoch, data_buffer_size=2
    )
    if offset:
        iterator.load_state_dict({"version": 2, "epoch": epoch, "iterations_in_epoch": offset, "shuffle": True})
    found = []
    for _ in range(count):
        batches = list(iterator.next_epoch_itr(shuffle=True))
        for batch in batches:
            assert batch[UPDATE]["totals"].tolist() == task._divisors(batch).tolist()
            assert batch["net_input"]["src_tokens"].numel() <= 60
        found.append(
            {
                int(row): batch["net_input"]["src_tokens"][i, : batch["prompt_lengths"][i]].tolist()
                for batch in batches
                for i, row in enumerate(batch["id"])
            }
        )
    return found


def loaded(data, *options):
    config, task = setup(data, *options)
    task.build_criterion(config.criterion)
    task.load_dataset("train")
    return task


def test_workers_and_resumption_draw_the_same(tmp_path):
    data = make_data(tmp_path, train=30)
    expected = epochs(loaded(data, *AUGMENT), 3, num_workers=0)
    plain = epochs(loaded(data), 1, num_workers=0)[0]
    assert all(len(epoch) == 30 for epoch in expected)
    assert expected[0] != expected[1] != expected[2] and plain not in expected
    assert epochs(loaded(data, *AUGMENT), 3, num_workers=2) == expected
    for workers in (0, 2):
        rest, following = epochs(loaded(data, *AUGMENT), 2, num_workers=workers, offset=2, epoch=2)
        assert 0 < len(rest) < 30 and following == expected[2]
        assert rest.items() <= expected[1].items()


def test_batches_are_made_by_upper_bounds(tmp_path):
    data = make_data(tmp_path, train=30)
    task = loaded(data, "--dedup-prob", "1", "--seed", "3")
    dataset = task.dataset("train")
    lengths = [len(item["prompt"]) + len(item["answer"]) - 1 for item in map(dataset.__getitem__, range(30))]
    assert (np.array(lengths) < dataset.sizes).all()  # every utterance of the miniature has repetitions
    assert dataset.sizes.tolist() == loaded(data).dataset("train").sizes.tolist()


def test_only_training_units_are_augmented(tmp_path):
    data = make_data(tmp_path, train=5, valid=5)
    task = loaded(data, *AUGMENT)
    task.load_dataset("valid")
    assert task.dataset("valid").augment is None and task.dataset("train").augment is not None
    task.load_dataset("train", task_cfg=task.cfg)  # as fairseq-generate and fairseq-validate do
    assert task.dataset("train").augment is None
    assert loaded(data).dataset("train").augment is None


# -------------------------------------------------------------------------------- centroids


@pytest.fixture
def kmeans(tmp_path):
    values = np.random.default_rng(0).normal(size=(NUM_UNITS, 4)).astype(np.float32)
    values[7] = values[2]  # equal centroids must not take a unit's place
    KMeans(values).save(tmp_path / "kmeans.npz")
    return tmp_path / "kmeans.npz"


def test_centroids_are_those_of_the_clustering(kmeans):
    ours, theirs = Centroids.load(kmeans), KMeans.load(kmeans)
    assert np.array_equal(ours.values, theirs.centroids)
    assert ours.sha256 == theirs.sha256


def test_nearest_centroids(kmeans, monkeypatch):
    centroids = Centroids.load(kmeans)
    monkeypatch.setattr("sld_user_dir.clustering.kmeans_file.DISTANCES_AT_A_TIME", 5 * NUM_UNITS)
    nearest, squared = centroids.nearest(99)
    values = centroids.values.astype(np.float64)
    for unit in range(NUM_UNITS):
        distances = ((values - values[unit]) ** 2).sum(1)
        assert nearest[unit, 0] == unit and sorted(nearest[unit]) == list(range(NUM_UNITS))
        np.testing.assert_allclose(squared[unit], distances[nearest[unit]], atol=1e-12)
        assert (np.diff(squared[unit]) >= 0).all()
    assert np.array_equal(centroids.nearest(3)[0], nearest[:, :3])


def test_substitution_with_a_kmeans_file(kmeans, tmp_path):
    data = make_data(tmp_path / "data", train=5)
    write_manifest(data / "train.tsv", make_utterances(5), make_provenance(kmeans=Centroids.load(kmeans).sha256))
    option = ["--unit-substitution-kmeans", kmeans, "--unit-substitution-neighbours", 2]
    task = loaded(data, "--unit-substitution-prob", 1, *option)
    near, dataset = Centroids.load(kmeans).nearest(3)[0][:, 1:], task.dataset("train")
    for row, utterance in enumerate(make_utterances(5)):
        drawn = task.vocab.decode_units(dataset[row]["prompt"].tolist())
        assert all(new in near[old] for new, old in zip(drawn, utterance.units))


def test_centroids_of_other_units_are_refused(kmeans, tmp_path):
    centroids = Centroids.load(kmeans)
    for known in (centroids.sha256, "unknown"):
        centroids.check(make_provenance(kmeans=known), "train.tsv")
    for wrong, message in [
        ({"kmeans": "sha256:0"}, "extract the units again"),
        ({"num_units": 13}, "12 centroids, but train.tsv has 13 units"),
        ({"subword": "sha256:1"}, "subwords"),
    ]:
        with pytest.raises(KMeansError, match=message):
            centroids.check(make_provenance(**wrong), "train.tsv")
    with pytest.raises(KMeansError, match="no such file"):
        Centroids.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(KMeansError, match="not a k-means file"):
        Centroids.load(tmp_path / "text.npz")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--dedup-prob", "1.5"], "--dedup-prob is a probability"),
        (["--unit-substitution-prob", "-1"], "--unit-substitution-prob is a probability"),
        (["--unit-substitution-kmeans", "x.npz"], "does nothing without"),
        (["--unit-substitution-prob", "0.1", "--unit-substitution-kmeans", "x.npz"], "no such file"),
    ],
)
def test_wrong_options_are_refused(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        loaded(make_data(tmp_path, train=2), *wrong)


def test_nothing_to_collapse_is_an_error(tmp_path):
    data = make_data(tmp_path, train=2)
    collapsed = [Utterance("utt0", np.array([6, 7, 4], dtype=np.int32), "cat dog")]
    write_manifest(data / "train.tsv", collapsed, make_provenance(deduplicated=True))
    with pytest.raises(ValueError, match="de-duplicated already"):
        loaded(data, "--dedup-prob", "0.5")


def test_a_vocabulary_of_one_unit_has_no_other(tmp_path):
    with pytest.raises(ValueError, match="two units"):
        Augmentation(1, seed=1, substitution_prob=0.5)


@pytest.mark.slow
def test_a_resumed_command_draws_the_same(tmp_path):
    """fairseq-train in fresh processes, with every option of these modules and worker processes."""
    KMeans(np.random.default_rng(0).normal(size=(NUM_UNITS, 4)).astype(np.float32)).save(tmp_path / "kmeans.npz")
    centroids = Centroids.load(tmp_path / "kmeans.npz")
    data = make_data(tmp_path / "data", train=80, valid=7)
    for split, utterances in (("train", make_utterances(80)), ("valid", make_utterances(7, seed=1))):
        write_manifest(data / f"{split}.tsv", utterances, make_provenance(kmeans=centroids.sha256))
    options = [
        *AUGMENT,
        "--unit-substitution-kmeans",
        centroids.path,
        "--kl-variant",
        "centroid",
        "--kl-centroids",
        centroids.path,
        "--ctc-weight",
        "0.3",
        "--num-workers",
        "2",
        "--max-tokens",
        "100",
    ]

    def losses(lines):
        found = [re.search(r"\| train_inner \| (\{.*\})$", line) for line in lines]
        logs = [json.loads(m[1]) for m in found if m]
        return {int(log["num_updates"]): (log["text"], log["speech"], log["kl"], log["ctc"]) for log in logs}

    whole = losses(train(data, tmp_path / "whole", *options, updates=6))
    train(data, tmp_path / "parts", *options, updates=3)
    resumed = losses(train(data, tmp_path / "parts", *options, updates=6))
    assert len(whole) == 6 and resumed == {update: loss for update, loss in whole.items() if update > 3}
    checkpoint = tmp_path / "parts" / "checkpoint_last.pt"
    validated = fairseq_command("validate", data, "--path", checkpoint, "--valid-subset", "valid", "--max-tokens", 200)
    assert "ctc_short" in validated.stdout + validated.stderr
