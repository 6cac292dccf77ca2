"""The ten digits of Asterisk's prompts: found by name, checked by transcript."""

import pytest
from support.asterisk import make_tree

from sld_user_dir.corpora.asterisk_prompts import CorpusError, digit_prompts, read_prompts
from sld_user_dir.corpora.connected_digits import WORDS


def test_ten_digits_of_one_voice(tmp_path):
    found = digit_prompts(read_prompts(make_tree(tmp_path, WORDS)))
    assert [one.text for one in found] == WORDS and [one.n_samples for one in found] == list(range(100, 110))
    assert len({one.speaker for one in found}) == 1 and all(one.path.exists() for one in found)
    assert [one.fields["digits"] for one in found] == [f"digits/{digit}" for digit in range(10)]


@pytest.mark.parametrize(
    ("words", "said"), [(WORDS[:9], "digits/9 says nothing, not 'nine'"), ([*WORDS[:9], "ten"], "digits/9 says 'ten'")]
)
def test_a_tree_without_a_digit_is_refused(tmp_path, words, said):
    with pytest.raises(CorpusError, match=said):
        digit_prompts(read_prompts(make_tree(tmp_path, words)))
