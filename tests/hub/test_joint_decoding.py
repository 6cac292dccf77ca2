"""The hub decodes with the CTC that the model was trained with, where it is asked to or was told to in training."""

import pytest
from support.miniature import make_data, train

from sld_user_dir import hub
from sld_user_dir.errors import InputError

UNITS = [[0, 0, 1, 4, 4, 5], [2, 2, 3], [6, 6, 7, 0, 0, 1]]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"), train=30, valid=5)


@pytest.fixture(scope="module")
def checkpoints(data, tmp_path_factory):
    """Trained with CTC and a weight for validation; without CTC."""
    out = tmp_path_factory.mktemp("runs")
    train(data, out / "ctc", "--ctc-weight", "1", "--eval-wer", "--decode-ctc-weight", "0.7", updates=3)
    train(data, out / "plain", updates=1)
    return out


def log_probs(model):
    return [[one.log_prob for one in found] for found in model.hypotheses(UNITS, beam=3, max_len_b=6)]


def test_the_weight_is_that_of_the_training_unless_told_otherwise(data, checkpoints):
    path = checkpoints / "ctc" / "checkpoint_last.pt"
    as_trained = hub.load(path, data=data, device="cpu")
    assert log_probs(as_trained) == log_probs(hub.load(path, data=data, device="cpu", ctc_weight=0.7))
    without = hub.load(path, data=data, device="cpu", ctc_weight=0)
    assert log_probs(as_trained) != log_probs(without)
    assert as_trained.score(UNITS[1], "one").log_prob == without.score(UNITS[1], "one").log_prob
    assert as_trained.continue_units(UNITS[1], seed=1, max_units=5)  # of units, which no CTC scores


def test_a_model_without_ctc_is_refused(data, checkpoints):
    path = checkpoints / "plain" / "checkpoint_last.pt"
    with pytest.raises(InputError, match=r"--decode-ctc-weight 0\.5: the checkpoint was trained without --ctc-weight"):
        hub.load(path, data=data, device="cpu", ctc_weight=0.5)
    assert hub.load(path, data=data, device="cpu").transcribe_units(UNITS)
