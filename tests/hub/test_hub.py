"""The Python API against the fairseq commands and against fairseq's own forward pass."""

import math
import re

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from support.miniature import NUM_UNITS, fairseq_command, make_data

from sld_user_dir import hub
from sld_user_dir.devices import DeviceError
from sld_user_dir.errors import InputError
from sld_user_dir.losses.stored_options import predicts_units

UNITS = [[0, 0, 1], [4, 4, 5, 2, 2, 3], [6, 6, 7, 8, 8, 9, 0, 0, 1, 2, 2, 3]]


@pytest.fixture(scope="module")
def model(checkpoint, mini):
    return hub.load(checkpoint, data=mini, device="cpu")


def test_the_same_as_fairseq_interactive(model, mini, checkpoint, tmp_path):
    typed = tmp_path / "typed.txt"
    typed.write_text("".join(" ".join(map(str, u)) + "\n" for u in UNITS))
    done = fairseq_command(
        "interactive",
        mini,
        "--path",
        checkpoint,
        "--input",
        typed,
        "--beam",
        3,
        "--nbest",
        3,
        "--max-len-b",
        10,
        "--buffer-size",
        3,
        "--max-tokens",
        1000,
    )
    lines = re.findall(r"^D-(\d)\t(\S+)\t(.*)$", done.stdout, re.M)
    found = model.hypotheses(UNITS, beam=3, max_len_b=10)
    ours = [(str(i), h.text) for i, nbest in enumerate(found) for h in nbest]
    assert [(i, text) for i, _, text in sorted(lines, key=lambda line: line[0])] == ours
    scores = [float(score) for _, score, _ in sorted(lines, key=lambda line: line[0])]
    # interactive prints base 2
    np.testing.assert_allclose(scores, [h.score / math.log(2) for n in found for h in n], atol=2e-4)


def test_one_utterance_or_a_list_in_any_form(model):
    texts = model.transcribe_units(UNITS, beam=2, max_len_b=10)
    assert [model.transcribe_units(u, beam=2, max_len_b=10) for u in UNITS] == texts
    assert model.transcribe_units(np.array(UNITS[0]), beam=2, max_len_b=10) == texts[0]
    assert model.transcribe_units([torch.tensor(u) for u in UNITS], beam=2, max_len_b=10) == texts
    assert model.transcribe([]) == []


def forward_log_probs(model, units, text) -> list:
    """Teacher forcing by the model's own forward pass: the oracle of `score`."""
    vocab = model.vocab
    ids = vocab.encode_text(text) + [vocab.eos]
    row = [*vocab.encode_units(units).tolist(), vocab.separator, *ids]
    with torch.no_grad():
        logits = model.models[0](torch.tensor([row[:-1]]))[0][0, -len(ids) :]  # (M, V)
    emitted = [*range(4, vocab.text_end), vocab.eos]
    rest = [i for i in range(logits.size(1)) if i not in emitted]
    logits[:, rest] = -math.inf
    return logits.log_softmax(-1)[range(len(ids)), ids].tolist()


@pytest.mark.parametrize("text", ["two zero", "one", "four four four three two one zero"])
def test_score_is_the_probability_of_the_transcript(model, text):
    score = model.score(UNITS[1], text)
    expected = forward_log_probs(model, UNITS[1], text)
    np.testing.assert_allclose(score.token_log_probs, expected, atol=1e-4)
    assert score.log_prob == pytest.approx(sum(expected), abs=1e-3)
    assert score.tokens == [*text.split(), "</s>"]
    assert score.perplexity == pytest.approx(math.exp(-sum(expected) / len(expected)), rel=1e-3)


def test_score_agrees_with_what_the_search_found(model):
    best = model.hypotheses([UNITS[2]], beam=4, max_len_b=10)[0]
    for hypothesis in best:
        if not hypothesis.truncated and hypothesis.text:
            assert model.score(UNITS[2], hypothesis.text).log_prob == pytest.approx(hypothesis.log_prob, abs=1e-3)


def test_score_of_what_cannot_be_written(model):
    with pytest.raises(ValueError, match=r"'five' is not in the vocabulary of .*; the model cannot write it"):
        model.score(UNITS[0], "four five")
    with pytest.raises(ValueError, match="3 units and 200 tokens of text exceed the model's positions"):
        model.score(UNITS[0], "one " * 200)


def test_continued_units(model):
    first = model.continue_units(UNITS[0], samples=3, max_units=7, min_units=7, seed=1)
    assert [len(u) for u in first] == [7, 7, 7] and len({tuple(u) for u in first}) > 1
    assert {unit for u in first for unit in u} <= set(range(NUM_UNITS))
    assert model.continue_units(UNITS[0], samples=3, max_units=7, min_units=7, seed=1) == first
    assert model.continue_units(UNITS[0], samples=3, max_units=7, min_units=7, seed=2) != first
    state = torch.random.get_rng_state()
    model.continue_units(UNITS[0], seed=3, max_units=3)
    assert torch.equal(torch.random.get_rng_state(), state)  # a seed leaves the caller's generator alone


def test_the_greedy_continuation_is_the_argmax_over_units(model):
    (units,) = model.continue_units(UNITS[1], sampling=False, max_units=4, min_units=4)
    vocab, row = model.vocab, model.vocab.encode_units(UNITS[1]).tolist()
    for unit in units:
        with torch.no_grad():
            logits = model.models[0](torch.tensor([row]))[0][0, -1, vocab.unit_offset :]
        assert int(logits.argmax()) == unit
        row.append(unit + vocab.unit_offset)


@pytest.mark.parametrize(
    "criterion, expected",
    [
        ({"_name": "masked_ce"}, False),
        ({"_name": "sld", "speech_weight": 0.0, "kl_weight": 0.0}, False),
        ({"_name": "sld", "speech_weight": 0.0, "kl_weight": None}, True),
        ({"_name": "sld", "speech_weight": 1.0, "kl_weight": 0.0}, True),
        ({"_name": "cross_entropy"}, True),
        (None, True),
    ],
)
def test_which_criteria_teach_units(criterion, expected):
    assert predicts_units(criterion) is expected


def test_a_model_without_a_loss_on_speech_has_nothing_to_say(model, monkeypatch):
    trained = OmegaConf.create({"criterion": {"_name": "masked_ce"}})  # as fairseq stores it
    monkeypatch.setattr(model, "cfg", trained)
    with pytest.raises(ValueError, match="trained with a loss on text only"):
        model.continue_units(UNITS[0])


@pytest.mark.parametrize(
    "units, message",
    [
        ([], "no units; give at least one"),
        ([0, NUM_UNITS], f"unit {NUM_UNITS} is outside the vocabulary's 0 … {NUM_UNITS - 1}"),
        ([0.5, 1.0], "is no list of raw units; give numbers"),
        (["three", "four"], "is no list of raw units; give numbers"),
        ([0] * 100, "102 tokens|101 tokens"),
    ],
)
def test_prompts_that_cannot_be_transcribed(model, units, message):
    with pytest.raises(ValueError, match=message):
        model.transcribe_units([units])


@pytest.mark.parametrize("units", [[], [NUM_UNITS], ["three"], [0] * 100])
def test_one_of_several_utterances_is_named(model, units):
    with pytest.raises(InputError, match=r"^utterance 1: .*; "):
        model.transcribe_units([UNITS[0], units, UNITS[0]])


def test_options_out_of_range(model):
    with pytest.raises(TypeError, match="no generation option 'beams'"):
        model.transcribe_units(UNITS[0], beams=3)
    with pytest.raises(ValueError, match="units 5 to 3"):
        model.continue_units(UNITS[0], min_units=5, max_units=3)
    with pytest.raises(InputError, match="units 0 to 0: nothing to draw"):
        model.continue_units(UNITS[0], max_units=0)
    with pytest.raises(InputError, match="--max-len-b 0: these leave no token"):
        model.transcribe_units(UNITS[0], max_len_b=0)


def test_what_cannot_be_loaded_is_named(checkpoint, mini, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.pt: no such checkpoint"):
        hub.load(tmp_path / "no.pt")
    for content in (b"", b"nothing", bytes(range(256)), b"PK\x03\x04"):
        (tmp_path / "broken.pt").write_bytes(content)
        with pytest.raises(InputError, match=r"broken\.pt: no checkpoint that torch reads .*; give one of fairseq-t"):
            hub.load(tmp_path / "broken.pt")
    with pytest.raises(DeviceError, match=r"--device tpu: no such device; choose auto, cpu, cuda"):
        hub.load(checkpoint, data=mini, device="tpu")
    other = make_data(tmp_path / "other", train=3)
    (other / "dict.txt").write_text((other / "dict.txt").read_text().replace("zero", "null"))
    with pytest.raises(ValueError, match=r"the checkpoint: its vocabulary is .*, but that of .*other"):
        hub.load(checkpoint, data=other)


def test_repeats_are_refused_by_a_model_of_deduplicated_units(model, monkeypatch):
    collapsed = type(model.provenance)(**{**model.provenance.__dict__, "deduplicated": True})
    monkeypatch.setattr(model, "provenance", collapsed)
    with pytest.raises(ValueError, match="trained on de-duplicated ones; collapse the runs"):
        model.transcribe_units([0, 0, 1])
