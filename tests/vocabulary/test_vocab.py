"""The joint vocabulary: ids, views, and files that cannot be right."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sld_user_dir.models.dictionaries import TextView, UnitString, UnitView
from sld_user_dir.vocabulary.joint import JointVocabulary, VocabularyError
from sld_user_dir.vocabulary.tokenizers import CharTokenizer, WordTokenizer

K = 7


@pytest.fixture(scope="module")
def vocab() -> JointVocabulary:
    return JointVocabulary.build(["three four", "four"], K, WordTokenizer())


def test_layout(vocab):
    expected = ["<s>", "<pad>", "</s>", "<unk>", "four", "three", "<mask>", "<sep>"]
    assert vocab.table.symbols == expected + [f"<u{k}>" for k in range(K)]
    assert (vocab.bos, vocab.pad, vocab.eos, vocab.unk) == (0, 1, 2, 3)
    assert (vocab.mask, vocab.separator, vocab.unit_offset) == (6, 7, 8)
    assert vocab.num_units == K and len(vocab) == 15
    assert list(vocab.text_ids) == [4, 5]
    assert [i for i in range(15) if vocab.is_text(i)] == [3, 4, 5]


def test_text_to_ids_and_back(vocab):
    assert vocab.encode_text("three four five") == [5, 4, 3]
    assert vocab.decode_text([0, 8, 5, 7, 4, 2, 1]) == "three four"


def test_the_names_of_specials_and_units_in_a_transcript_are_unknown_words(vocab):
    assert vocab.encode_text("<u1> <sep> <mask> <s> </s> <pad>") == [3] * 6


@pytest.mark.parametrize("word", ["<mask>", "<sep>", "<u0>", "<u3>", "<pad>", "</s>"])
def test_a_transcript_that_spells_a_special_does_not_shift_the_ids(word):
    vocab = JointVocabulary.build([f"four {word} three {word}"], K, WordTokenizer())
    assert vocab.num_units == K
    assert vocab.decode_text(vocab.text_ids) == "four three"
    assert vocab.encode_text(word) == [vocab.unk]


@given(units=st.lists(st.integers(0, K - 1)))
def test_units_round_trip(vocab, units):
    ids = vocab.encode_units(units)
    assert vocab.decode_units([vocab.separator, *ids.tolist(), 4, vocab.eos]) == units


@pytest.mark.parametrize("units, worst", [([0, K], K), ([-1, 3], -1)])
def test_a_unit_outside_is_named(vocab, units, worst):
    with pytest.raises(ValueError, match=f"unit {worst} is outside the vocabulary's 0 … {K - 1}"):
        vocab.encode_units(np.array(units))


def test_a_line_that_is_no_units_is_named(vocab):
    assert vocab.parse_units(" 3  1 ") == [vocab.unit_offset + 3, vocab.unit_offset + 1]
    with pytest.raises(ValueError, match=r"'3 x' is not a line of units; type numbers such as: 71 12 57"):
        vocab.parse_units("3 x")


def test_the_source_view_prints_and_reads_units(vocab):
    row = torch.tensor([vocab.bos, 9, 8, vocab.separator, 4, vocab.eos])
    printed = UnitView(vocab).string(row)
    assert printed == "1 0" and isinstance(printed, UnitString)
    assert UnitView(vocab).encode_line("1 0").tolist() == [9, 8, vocab.eos]
    assert UnitView(vocab).encode_line("1 0", append_eos=False).tolist() == [9, 8]


def test_the_target_view_prints_text_only(vocab):
    assert TextView(vocab).string(torch.tensor([9, 7, 5, 4, 2, 1])) == "three four"
    assert len(TextView(vocab)) == len(UnitView(vocab)) == len(vocab)
    assert TextView(vocab).pad() == vocab.pad


def test_saved_and_loaded(vocab, tmp_path: Path):
    vocab.save(tmp_path)
    loaded = JointVocabulary.load(tmp_path)
    assert loaded.table.symbols == vocab.table.symbols
    assert loaded.fingerprint == vocab.fingerprint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dict.txt", "vocab.json"]


def test_the_fingerprint_tells_order_tokenizer_and_units_apart(vocab):
    def fingerprint(texts, k=K, tokenizer=WordTokenizer()) -> str:  # noqa: B008
        return JointVocabulary.build(texts, k, tokenizer).fingerprint

    same = fingerprint(["four three", "four"])
    others = {fingerprint(["three three four"]), fingerprint(["three four", "four"], K + 1)}
    chars = [JointVocabulary.build([], K, t, symbols=["a"]).fingerprint for t in (CharTokenizer(), WordTokenizer())]
    assert same == vocab.fingerprint and same not in others and len(others) == 2
    assert chars[0] != chars[1]


def _spoil(directory: Path, spoil: str) -> None:
    lines = (directory / "dict.txt").read_text().splitlines()
    if spoil == "swap units":
        lines[-1], lines[-2] = lines[-2], lines[-1]
    elif spoil == "text after units":
        lines.append("five 1")
    elif spoil == "text between specials":
        lines.insert(lines.index("<sep> 1"), "five 1")
    elif spoil == "duplicate":
        lines.insert(0, lines[0])
    elif spoil == "no separator":
        lines.remove("<sep> 1")
    elif spoil == "no units":
        lines = [line for line in lines if not line.startswith("<u")]
    elif spoil == "unit lost":
        lines = lines[:-1]
    elif spoil == "no count":
        lines[0] = "four"
    (directory / "dict.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "spoil",
    [
        "swap units",
        "text after units",
        "text between specials",
        "duplicate",
        "no separator",
        "no units",
        "unit lost",
        "no count",
    ],
)
def test_a_dictionary_that_cannot_be_right_is_refused_with_file_and_remedy(vocab, tmp_path, spoil):
    vocab.save(tmp_path)
    _spoil(tmp_path, spoil)
    with pytest.raises(VocabularyError, match=r"build.*sld vocab") as error:
        JointVocabulary.load(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("content", ["{", "[]", "3", "{}", '{"text_tokenizer": "bpe"}', '{"text_tokenizer": ["word"]}'])
def test_a_bad_vocab_json_is_refused(vocab, tmp_path, content):
    vocab.save(tmp_path)
    (tmp_path / "vocab.json").write_text(content)
    with pytest.raises(VocabularyError, match=r"sld vocab") as error:
        JointVocabulary.load(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("name", ["dict.txt", "vocab.json"])
def test_a_missing_or_unreadable_file_is_named(vocab, tmp_path, name):
    vocab.save(tmp_path)
    (tmp_path / name).write_bytes(b"\xff\xfe 1\n")
    with pytest.raises(VocabularyError, match=r"sld vocab"):
        JointVocabulary.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(VocabularyError, match=f"{name}: does not exist; build it with"):
        JointVocabulary.load(tmp_path)


def test_vocab_json_states_the_number_of_units(vocab, tmp_path):
    vocab.save(tmp_path)
    assert json.loads((tmp_path / "vocab.json").read_text()) == {"text_tokenizer": "word", "num_units": K}
