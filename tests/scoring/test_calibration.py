"""Measures of confidences, against what they say in words, and where they cannot be had."""

import itertools

import numpy as np
import pytest

from sld_user_dir.errors import InputError
from sld_user_dir.scoring.calibration import (
    area_under_roc,
    calibration_report,
    expected_calibration_error,
    normalised_cross_entropy,
)


def sample(count, seed=0, sharpen=1.0):
    """Confidences that are right as often as they say, made surer by `sharpen`."""
    rng = np.random.default_rng(seed)
    true = rng.beta(3, 1, size=count)
    odds = sharpen * np.log(true / (1 - true))
    return 1 / (1 + np.exp(-odds)), rng.random(count) < true


def test_auroc_counts_pairs_in_the_right_order():
    c, y = sample(60)
    c = c.round(1)  # with ties
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(c[y], c[~y])]
    assert area_under_roc(c, y) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_honest_confidences_have_no_calibration_error_and_bold_ones_have():
    honest, bold = sample(20_000), sample(20_000, sharpen=4.0)
    assert expected_calibration_error(*honest) < 0.01 < 0.05 < expected_calibration_error(*bold)
    assert normalised_cross_entropy(*honest) > 0 > normalised_cross_entropy(*bold)


def test_normalised_cross_entropy_is_1_of_knowledge_and_0_of_the_mean():
    y = np.array([True, True, False, True])
    assert normalised_cross_entropy(np.where(y, 1.0, 0.0), y) == pytest.approx(1, abs=1e-5)
    assert normalised_cross_entropy(np.full(4, 0.75), y) == pytest.approx(0, abs=1e-12)


def test_bins_hold_every_word_and_certainty_too():
    report = calibration_report([0.0, 0.05, 0.5, 1.0], [False, True, True, True])
    counts = {one["from"]: one["count"] for one in report["bins"] if one["count"]}
    assert counts == {0.0: 2, 0.5: 1, 0.9: 1}
    assert report["ece"] == pytest.approx((2 * abs(0.025 - 0.5) + abs(0.5 - 1) + 0) / 4)


def test_what_cannot_be_measured_is_none_or_refused():
    report = calibration_report([0.9, 0.8], [True, True])
    assert report["nce"] is None and report["auroc"] is None and report["ece"] == pytest.approx(0.15)
    with pytest.raises(InputError, match="no word with a confidence"):
        calibration_report([], [])
