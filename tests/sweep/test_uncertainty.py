"""Intervals and tests over trainings and utterances, against other ways to the same figures."""

import numpy as np
import pytest
from scipy import stats

from sld_user_dir.sweep.uncertainty import ErrorTable, difference, holm, mean_rate


def table(errors, lengths=None, blocks=None):
    errors = np.array(errors)
    count = errors.shape[1]
    return ErrorTable(
        errors, np.full(count, 10) if lengths is None else lengths, blocks or [str(n) for n in range(count)]
    )


def test_without_chance_of_utterances_it_is_welchs_test():
    """Every utterance alike: only the trainings differ."""
    one, other = table(np.repeat([[1], [2], [4]], 50, axis=1)), table(np.repeat([[3], [3], [6], [4]], 50, axis=1))
    ours, welch = difference(one, other), stats.ttest_ind(one.rates, other.rates, equal_var=False)
    low, high = welch.confidence_interval(0.95)
    assert ours.p_value == pytest.approx(welch.pvalue)
    assert ours.interval == pytest.approx((low, high))
    assert ours.utterance_error == pytest.approx(0, abs=1e-9)


def test_without_chance_of_trainings_it_is_the_error_of_a_mean_over_utterances():
    errors = np.random.default_rng(1).poisson(3, size=400)
    ours = mean_rate(table(np.stack([errors, errors])))
    assert ours.training_error == pytest.approx(0, abs=1e-9)
    assert ours.utterance_error == pytest.approx(100 * errors.std() / 10 / 20, rel=0.05)
    assert ours.interval == pytest.approx(
        (ours.value - 1.96 * ours.utterance_error, ours.value + 1.96 * ours.utterance_error), rel=1e-3
    )


def test_speakers_are_drawn_whole():
    """Ten speakers, all of whose utterances are alike: as uncertain as ten utterances."""
    by_speaker = np.repeat(np.arange(10), 30)
    blocks = [str(n) for n in by_speaker]
    whole = mean_rate(table([by_speaker, by_speaker], blocks=blocks))
    apart = mean_rate(table([by_speaker, by_speaker]))
    assert whole.utterance_error == pytest.approx(apart.utterance_error * 30**0.5, rel=0.1)


def test_both_chances_add_up():
    rng = np.random.default_rng(2)
    base = rng.poisson(3, size=300)
    one = table([base + rng.integers(0, 2, 300) for _ in range(4)])
    estimate = mean_rate(one)
    half = estimate.interval[1] - estimate.value
    assert half > 1.96 * (estimate.training_error**2 + estimate.utterance_error**2) ** 0.5


def test_a_single_training_gives_no_test():
    one, three = table([[1, 2, 3] * 5]), table([[1, 2, 3] * 5] * 3)
    estimate = difference(one, three)
    assert (estimate.training_error, estimate.interval, estimate.p_value) == (None, None, None)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Three trainings each, 40 speakers; the chances are known, and so is the difference: none."""
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        speakers = rng.normal(30, 4, size=40)
        tables = [
            table([speakers + rng.normal(0, 3, size=40) + rng.normal(0, 1) for _ in range(3)], np.full(40, 100))
            for _ in range(2)
        ]
        low, high = difference(*tables).interval
        inside += low <= 0 <= high
    assert 0.90 <= inside / 200 <= 1.0


def test_holm_against_values_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
