"""A schedule of the weight on speech: what it is at an update, in the loss, in a training, and what is refused."""

from types import SimpleNamespace

import pytest
import torch
from support.fairseq_logs import logged
from support.losses import OFFSET, LossOptions, random_batch, selected
from support.miniature import make_data, train

from sld_user_dir.errors import InputError
from sld_user_dir.losses.objective import Objective, plain_loss
from sld_user_dir.losses.stored_options import predicts_units
from sld_user_dir.losses.terms.cross_entropy import SpeechCrossEntropy, TextCrossEntropy
from sld_user_dir.losses.weight_schedule import WeightSchedule


def schedule(start, end, updates):
    options = SimpleNamespace(speech_weight=start, speech_weight_end=end, speech_weight_updates=updates)
    return WeightSchedule.of(options, "speech_weight")


def test_a_straight_line_that_stays_at_its_end():
    line = schedule(2.0, 0.5, 10)
    assert [line.weight_at(update) for update in (0, 5, 10, 1000)] == [2.0, 1.25, 0.5, 0.5]
    assert line.weight_at(None) == 0.5 and schedule(1.0, None, 0) is None


@pytest.mark.parametrize(("end", "updates"), [(0.5, 0), (None, 10), (0.5, -3), (-0.5, 10)])
def test_half_a_schedule_or_a_weight_below_zero_is_refused(end, updates):
    with pytest.raises(InputError, match="--speech-weight-end"):
        schedule(1.0, end, updates)


def loss_at(objective, update):
    src, target = random_batch(3, 3, 12, 8)
    logits = torch.randn(3, 12, OFFSET + 8, generator=torch.Generator().manual_seed(3))
    objective.update = update
    at, divisors = selected(src, target, 8, objective)
    return plain_loss(logits, at, objective, divisors)[0]


@pytest.mark.parametrize(("update", "weight"), [(0, 1.0), (25, 0.75), (50, 0.5), (None, 0.5)])
def test_the_loss_is_that_of_the_weight_at_its_update(update, weight):
    terms = [TextCrossEntropy(), SpeechCrossEntropy(1.0, schedule=schedule(1.0, 0.5, 50))]
    fixed = LossOptions(speech_weight=weight, kl_weight=0.0).objective()
    assert torch.equal(loss_at(Objective(terms), update), loss_at(fixed, None))


def test_a_weight_that_begins_or_ends_at_zero_is_a_term():
    for start, end in ((0.0, 1.0), (1.0, 0.0)):
        options = SimpleNamespace(
            speech_weight=start,
            speech_weight_end=end,
            speech_weight_updates=5,
            speech_label_smoothing=0.0,
            speech_within_units=False,
            kl_variant="paper",
        )
        assert SpeechCrossEntropy.from_options(options, None).weight_at(0) == start
    assert predicts_units({"_name": "sld", "speech_weight": 0.0, "speech_weight_end": 1.0, "kl_weight": 0.0})


def test_a_training_follows_the_schedule(tmp_path):
    """`loss_speech` is w_speech times `speech`; an update is the trainer's, of however many batches."""
    data = make_data(tmp_path / "data", train=12, valid=3)
    options = ["--kl-weight", 0, "--speech-weight-end", 0.2, "--speech-weight-updates", 2, "--update-freq", 2]
    lines = logged(train(data, tmp_path / "save", *options, "--batch-size", 2, updates=3), "train_inner")
    weights = [float(one["loss_speech"]) / float(one["speech"]) for one in lines]
    assert weights == pytest.approx([1.0, 0.6, 0.2], abs=0.01)


@pytest.mark.parametrize("form", ["fused", "plain"])
def test_a_term_without_weight_is_not_logged_as_perfect(tmp_path, form):
    """Bits of nothing are no 0 bits, in training and validation, in either form of the loss."""
    data = make_data(tmp_path / "data", train=12, valid=3)
    options = ["--kl-weight", 0, "--speech-weight-end", 0, "--speech-weight-updates", 2, "--loss-form", form]
    options += ["--validate-interval-updates", 1]
    log = train(data, tmp_path / "save", *options, "--batch-size", 4, updates=3)
    trained, validated = logged(log, "train_inner"), logged(log, "valid")
    assert [is_known(one, "speech") for one in trained] == [True, True, False]
    assert [is_known(one, "speech_ppl") for one in trained] == [True, True, False]
    known = [is_known(one, "valid_speech") for one in validated[:3]]
    assert known == [True, True, False]  # by the weight of the last update
    assert all(float(one["valid_text"]) > 0 and float(one["valid_loss_speech"]) >= 0 for one in validated)
    assert min(float(one["speech"]) for one in trained[:2]) > 0


def is_known(logged_point, name):
    """Whether a figure is there; null stands for one that was taken earlier and is not any more."""
    return logged_point.get(name) is not None
