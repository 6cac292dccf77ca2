"""benchmarks/long_stream.py: when words settled for good, their lag, and what a second of speech costs."""

import pytest
from support.command_rules import load
from support.miniature import ROOT


@pytest.fixture(scope="module")
def benchmark():
    return load(ROOT / "benchmarks" / "long_stream.py")


@pytest.mark.parametrize(
    "settled, final, times",
    [
        ("a b c", "a b c", [1, 2, 3]),
        ("a b", "a b c d", [1, 2, 9, 9]),
        ("a x c", "a b c", [1, 9, 3]),  # one word is taken back, those around it are not
        ("a b c", "a c", [1, 3]),
        ("", "a", [9]),
        ("a", "", []),
    ],
)
def test_a_word_has_settled_when_it_is_as_it_stays(benchmark, settled, final, times):
    assert benchmark.kept_times(settled.split(), [1, 2, 3], final.split(), 9) == times


def test_lag_is_that_of_right_words(benchmark):
    speech = benchmark.Speech(["a", "b", "c", "d"], [0.5, 1.0, 1.5, 2.0])
    told = benchmark.Told(["a", "x", "y", "d"], [0.75, 1.5, 2.5, 3.5], [], [])
    assert benchmark.lags(speech, told) == [0.25, 1.5]
    assert benchmark.wer_percent(speech, told.words) == 50


def test_cost_is_that_of_the_speech_of_a_group(benchmark):
    told = benchmark.Told([], [], [], [(1.0, 1.0, 0.5, 7), (2.0, 2.0, 1.0, 7), (4.0, 4.0, 3.0, 8), (4.0, 0.0, 1.0, 8)])
    assert benchmark.cost_by([0, 0, 5, 5], told) == {0: 0.75, 5: 2.0}
