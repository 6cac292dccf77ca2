"""Bits a second of unit sequences, by hand."""

import numpy as np
import pytest

from sld_user_dir.clustering.quality import bitrate_report


def test_bits_before_and_after_deduplication():
    frames = [np.array([0, 0, 1, 1]), np.array([1, 1, 1, 1])]  # 2 of 8 frames are 0; runs are 0 1 | 1
    report = bitrate_report(frames, 4, seconds=2.0)
    of_frames = -(2 / 8 * np.log2(2 / 8) + 6 / 8 * np.log2(6 / 8)) * 8 / 2
    of_runs = -(1 / 3 * np.log2(1 / 3) + 2 / 3 * np.log2(2 / 3)) * 3 / 2
    assert report["bits_per_second"] == pytest.approx(of_frames)
    assert report["bits_per_second_deduplicated"] == pytest.approx(of_runs)


def test_no_units_need_no_bits():
    assert set(bitrate_report([], 4, seconds=0.0).values()) == {0.0}
