"""Text tokenizers: transcripts to symbols and back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sld_user_dir.vocabulary.building import train_sentencepiece
from sld_user_dir.vocabulary.tokenizers import (
    CharTokenizer,
    SentencePieceTokenizer,
    WordTokenizer,
    build_text_tokenizer,
)

WORDS = st.lists(st.text("aäßé'\U0001f600漢", min_size=1, max_size=5), max_size=5).map(" ".join)


@pytest.mark.parametrize("tokenizer", [CharTokenizer(), WordTokenizer()], ids=["char", "word"])
@given(text=WORDS)
def test_round_trip(tokenizer, text):
    symbols = tokenizer.encode(text)
    assert tokenizer.decode(symbols) == text
    assert all(s and " " not in s for s in symbols)  # each is one entry of dict.txt


def test_characters_are_fairseq_letters():
    assert CharTokenizer().encode(" two  six ") == list("two|six")
    assert CharTokenizer().decode(list("|two||six|")) == "two six"


def test_a_transcript_with_the_boundary_is_refused():
    with pytest.raises(ValueError, match=r"'a\|b' contains '\|'.*remove it from the text or choose another"):
        CharTokenizer().encode("a|b")


def test_words_of_any_white_space():
    assert WordTokenizer().encode("\tthree\u00a0four ") == ["three", "four"]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory) -> SentencePieceTokenizer:
    path = tmp_path_factory.mktemp("spm") / "m"
    train_sentencepiece(["three four", "ﬁve ½ IV", "four four"], 17, path)
    return SentencePieceTokenizer(path)


def test_sentencepiece_round_trip_without_normalisation(pieces):
    # a compatibility form would become "five 1⁄2" under SentencePiece's default rule
    assert pieces.decode(pieces.encode("ﬁve ½ four")) == "ﬁve ½ four"


def test_sentencepiece_vocabulary_holds_what_it_emits_and_no_control_symbol(pieces):
    listed = pieces.vocabulary()
    assert len(listed) == len(set(listed)) == 17 - 3
    assert set(pieces.encode("three ﬁve")) <= set(listed)
    assert not {"<s>", "</s>", "<unk>"} & set(listed)


def test_unknown_kind_and_missing_model_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match="unknown text tokenizer 'bpe'; choose one of char"):
        build_text_tokenizer("bpe", tmp_path)
    with pytest.raises(ValueError, match=r"text\.spm\.model: does not exist, and the sentencepiece"):
        build_text_tokenizer("sentencepiece", tmp_path)
