"""Words of models without CTC: the likeliest monotone changes, and a model that tells a word once it has heard it."""

import itertools

import numpy as np
import pytest
import torch
from support.miniature import NUM_UNITS, WORDS

from sld_user_dir.search.decoders import DecoderSession
from sld_user_dir.timing.label_placers import MOST_STEPS, PrefixPlacer
from sld_user_dir.timing.prefix_alignment import LEAST, place_changes
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.tokenizers import WordTokenizer

VOCAB = JointVocabulary.build([" ".join(WORDS)], NUM_UNITS, WordTokenizer())


def gain(q, places) -> float:
    q = np.clip(q, LEAST, 1 - LEAST)
    return sum(np.log1p(-row[:t]).sum() + np.log(row[t:]).sum() for row, t in zip(q, places))


@pytest.mark.parametrize("seed", range(5))
def test_the_changes_are_the_likeliest_of_all_in_order(seed):
    q = np.random.default_rng(seed).random((3, 6))
    found = place_changes(torch.from_numpy(q)).tolist()
    everything = itertools.combinations(range(6), 3)
    assert found == list(max(everything, key=lambda places: gain(q, places)))


class Hearing(DecoderSession):
    """Word k is sure once unit 2k + 1 has been heard often enough, and improbable before."""

    def __init__(self, prompts, lengths, outputs):
        logits = torch.zeros(*prompts.shape, outputs)
        for row, (ids, length) in enumerate(zip(prompts.tolist(), lengths.tolist())):
            end = ids.index(VOCAB.separator)
            units = VOCAB.decode_units(ids[:end])
            told = [units[i + 1] // 2 for i in range(0, len(units) - 1, 3)]  # the second unit of three tells a word
            for m in range(length - end):
                if m < len(told):
                    logits[row, end + m, VOCAB.encode_text(WORDS[told[m]])[0]] = 12.0
        self.prompt_logits, self.first_logits = logits, logits[:, 0]


class Decoder:
    max_positions = 10_000.0

    def __init__(self):
        self.rows = 0

    def start(self, prompts, lengths, beams, outputs=None, every_position=False):
        self.rows += len(prompts)
        return Hearing(prompts, lengths, outputs)


def prompt(words):
    units = [unit for word in words for unit in (2 * word, 2 * word + 1, 2 * word + 1)]
    return torch.tensor([*VOCAB.encode_units(units).tolist(), VOCAB.separator])


def test_tokens_are_placed_at_the_units_that_tell_them():
    rows = [prompt([3, 0, 4, 4]), prompt([1])]
    prompts = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=VOCAB.pad)
    texts = [VOCAB.encode_text("three zero four four"), []]
    found = PrefixPlacer([Decoder()], VOCAB)(prompts, torch.tensor([len(row) for row in rows]), texts)
    assert found[0].first.tolist() == found[0].last.tolist() == [1, 4, 7, 10]
    assert found[1].first.tolist() == []


def test_more_tokens_than_units_cannot_be_placed():
    short = prompt([1])
    texts = [VOCAB.encode_text("one one one one")]
    assert PrefixPlacer([Decoder()], VOCAB)(short[None], torch.tensor([len(short)]), texts) == [None]


def test_long_utterances_are_read_in_larger_steps():
    words, decoder = [k % 5 for k in range(MOST_STEPS)], Decoder()
    long = prompt(words)
    text = VOCAB.encode_text(" ".join(WORDS[k] for k in words))
    found = PrefixPlacer([decoder], VOCAB)(long[None], torch.tensor([len(long)]), [text])
    assert decoder.rows <= MOST_STEPS
    assert np.abs(found[0].first - np.arange(1, 3 * MOST_STEPS, 3)).max() <= 3
