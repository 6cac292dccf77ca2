"""Numbers that are none: training stops with a reason, validation never takes them for its best."""

import logging
import math

import pytest
import torch
from fairseq.logging import metrics
from support.miniature import TRAIN_OPTIONS, fairseq_command, make_data

from sld_user_dir.criterions.term_logs import log_measures, logging_output
from sld_user_dir.losses.term import Measure


def measures(value):
    one = torch.tensor(1)
    return logging_output([Measure("loss_text", torch.tensor(value), one), Measure("text", torch.tensor(value), one)])


@pytest.mark.parametrize("order", [[math.nan, 2.0], [2.0, math.nan]], ids=["first", "later"])
def test_a_validation_that_is_no_number_is_never_the_best(order, caplog):
    losses = []
    for value in order:
        with metrics.aggregate(new_root=True) as found, caplog.at_level(logging.WARNING):
            log_measures([measures(1.0), measures(value)])  # a batch of two is enough
        losses.append(found.get_smoothed_values()["loss"])
    best = losses[0]
    for loss in losses:  # as fairseq's checkpoint_utils keeps it
        best = min(loss, best)
    assert math.isfinite(best) and best == min(losses)
    assert losses[order.index(2.0)] == best
    assert any("not a number" in record.message and "loss_text" in record.message for record in caplog.records)


def test_training_stops_before_it_saves_what_is_no_number(tmp_path):
    """The first update throws the weights far off; of the second the loss is no number."""
    data, save = make_data(tmp_path / "data", train=12, valid=3), tmp_path / "save"
    options = [*TRAIN_OPTIONS, "--criterion", "sld", "--save-dir", save, "--lr", "1e38", "--optimizer", "sgd"]
    done = fairseq_command("train", data, *options, "--max-update", 6, "--save-interval-updates", 3, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "FloatingPointError: gradients are Nan/Inf" in said
    assert not (save / "checkpoint_last.pt").exists()
