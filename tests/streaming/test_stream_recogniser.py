"""Local agreement, and the texts that a recogniser tells of a stream, by a decoder of this file."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sld_user_dir.errors import InputError
from sld_user_dir.streaming.local_agreement import LocalAgreement, agreed_words
from sld_user_dir.streaming.stream_recogniser import StreamRecogniser
from sld_user_dir.vocabulary.tokenizers import CharTokenizer, WordTokenizer

WORDS = st.lists(st.sampled_from(["one", "two"]), max_size=4)


@dataclass
class Written:
    text: str
    tokens: list


class Script:
    """Says at each call what it was told to, if it begins with what is forced, and remembers what was forced."""

    def __init__(self, tokenizer, *texts):
        self.tokenizer, self.texts, self.forced = tokenizer, list(texts), []

    def __call__(self, units, forced):
        self.forced.append(list(forced))
        texts = self.texts.pop(0)
        return [Written(one, [*self.tokenizer.encode(one), "</s>"]) for one in texts.split("|")]


@given(st.lists(WORDS, max_size=6), st.integers(1, 3))
def test_settled_words_only_become_more(hypotheses, n):
    agreement, before = LocalAgreement(n), []
    for i, words in enumerate(hypotheses):
        after = agreement.update(words)
        assert after[: len(before)] == before
        recent = hypotheses[max(0, i + 1 - n) : i + 1]
        assert after == before or (len(recent) == n and after == agreed_words(recent))
        before = after


def test_agreement_of_one_settles_at_once_and_of_none_is_refused():
    assert LocalAgreement(1).update(["a", "b"]) == ["a", "b"]
    assert LocalAgreement(1, open_words=1).update(["a", "b"]) == ["a"]
    assert LocalAgreement(2).update(["a", "b"]) == []
    with pytest.raises(InputError, match="--agreement 0"):
        LocalAgreement(0)


def test_a_stream_of_words():
    script = Script(WordTokenizer(), "one", "one two", "one three", "one three four", "nine three four")
    stream = StreamRecogniser(script, WordTokenizer())
    told = [stream.update([0]) for _ in range(4)]
    assert [(one.settled, one.tentative) for one in told] == [
        ([], ["one"]),
        (["one"], ["two"]),
        (["one"], ["three"]),
        (["one", "three"], ["four"]),
    ]
    final = stream.finish([0])
    assert final.text == "nine three four" and final.is_final and final.taken_back == 2
    assert script.forced == [[], [], ["one"], ["one"], []]  # the last decoding is free


def test_settled_words_can_be_kept():
    script = Script(WordTokenizer(), "one", "one two", "one two three")
    stream = StreamRecogniser(script, WordTokenizer(), keep_settled=True)
    for _ in range(2):
        stream.update([0])
    final = stream.finish([0])
    assert final.text == "one two three" and final.taken_back == 0 and script.forced[-1] == ["one"]


def test_a_word_that_more_symbols_lengthen_settles_later():
    script = Script(CharTokenizer(), "a se", "a seven", "a seventeen b|a seven b", "x")
    stream = StreamRecogniser(script, CharTokenizer())
    assert stream.update([0]).settled == []
    assert stream.update([0]).settled == ["a"]
    stream.update([0])
    assert CharTokenizer().decode(script.forced[-1]).split() == ["a"]
    assert stream.update([0]).settled == ["a"] and stream.update([]).tentative == []  # nothing begins with it


def test_nothing_was_said():
    stream = StreamRecogniser(Script(WordTokenizer()), WordTokenizer())
    assert stream.update([]).text == "" and stream.finish([]).text == ""
