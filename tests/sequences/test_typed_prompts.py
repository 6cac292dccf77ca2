"""Lines that a user types or pipes into fairseq-interactive."""

import pytest

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.unit_text import parse_numbers
from sld_user_dir.sequences.sequence_format import FORMATS
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.tokenizers import CharTokenizer

VOCAB = JointVocabulary.build(["one two"], 9, CharTokenizer(), tasks=("asr", "tts"))


@pytest.mark.parametrize("line", ["\ufeff3 4", "3\u20284", "3\t4 ", "3\xa04"])
def test_units_after_a_byte_order_mark_and_between_any_white_space(line):
    assert FORMATS["asr"].parse_prompt(line, VOCAB) == FORMATS["asr"].parse_prompt("3 4", VOCAB)


@pytest.mark.parametrize("line", ["\ufeffone two", "one\u2028two", "one\x85two "])
def test_text_after_a_byte_order_mark_and_between_any_white_space(line):
    ids = FORMATS["tts"].parse_prompt(line, VOCAB)
    assert VOCAB.decode_text(ids) == "one two" and VOCAB.unk not in ids


def test_what_is_no_unit_is_shown():
    with pytest.raises(InputError, match="'3 x' is not a line of units; type numbers such as: 71 12 57"):
        FORMATS["asr"].parse_prompt("3 x", VOCAB)


@pytest.mark.parametrize("line", ["١ ٢ ٣", "1_0", "+3", "-1", "３", "²", "3.0", "99999999999999999999"])
def test_a_number_that_no_manifest_takes_is_no_unit(line):
    with pytest.raises(InputError, match="is not a line of units; type numbers such as: 71 12 57"):
        FORMATS["asr"].parse_prompt(line, VOCAB)
    with pytest.raises(ValueError):
        parse_numbers(line)
