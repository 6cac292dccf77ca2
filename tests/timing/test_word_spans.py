"""From units that emit labels to words with times, whatever the tokenizer."""

import numpy as np
import pytest

from sld_user_dir.timing.word_spans import SpanOptions, evenly_spread, timed_words
from sld_user_dir.vocabulary.tokenizers import CharTokenizer, WordTokenizer
from sld_user_dir.vocabulary.word_numbers import word_numbers

EDGES = np.arange(21) / 10


def times(found) -> list:
    return [(one.word, round(one.start_seconds, 3), round(one.end_seconds, 3)) for one in found]


def test_the_time_between_two_words_is_shared():
    first, last = np.array([3, 8]), np.array([3, 9])
    found = timed_words(["a", "b"], [0, 1], first, last, EDGES, SpanOptions(reach_seconds=9))
    assert times(found) == [("a", 0.0, 0.6), ("b", 0.6, 2.0)]
    late = timed_words(["a", "b"], [0, 1], first, last, EDGES, SpanOptions(share=0.25, reach_seconds=9))
    assert times(late) == [("a", 0.0, 0.5), ("b", 0.5, 2.0)]


def test_a_pause_belongs_to_no_word():
    found = timed_words(["a", "b"], [0, 1], np.array([3, 14]), np.array([3, 14]), EDGES, SpanOptions())
    assert times(found) == [("a", 0.0, 0.7), ("b", 1.1, 1.8)]


def test_a_word_reaches_from_its_first_symbol_to_its_last():
    symbols = CharTokenizer().encode("ab c")
    numbers = word_numbers(CharTokenizer(), symbols)
    assert (symbols, numbers) == (["a", "b", "|", "c"], [0, 0, 0, 1])
    frames = np.array([2, 4, 6, 9])
    assert times(timed_words(["ab", "c"], numbers, frames, frames, EDGES)) == [("ab", 0.0, 0.8), ("c", 0.8, 1.3)]


def test_every_tokenizer_counts_words_by_its_own_decoding():
    assert word_numbers(WordTokenizer(), ["one", "two"]) == [0, 1]

    class Pieces:
        name = "pieces"

        def encode(self, text):
            raise NotImplementedError

        def decode(self, symbols):
            return "".join(symbols).replace("▁", " ").strip()

    assert word_numbers(Pieces(), ["▁th", "ree", "▁", "four", "▁s"]) == [0, 0, 0, 1, 2]
    assert word_numbers(Pieces(), []) == []


def test_an_even_spread_knows_the_count_alone():
    assert times(evenly_spread(["a", "b"], EDGES)) == [("a", 0.0, 1.0), ("b", 1.0, 2.0)]
    assert evenly_spread([], EDGES) == timed_words([], [], np.zeros(0, int), np.zeros(0, int), EDGES) == []


@pytest.mark.parametrize("options", [{"share": 1.5}, {"reach_seconds": 0.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="choose it"):
        SpanOptions(**options)
