"""The same batch, the same weights: losses, gradients and hypotheses of both frameworks."""

import numpy as np
import pytest
import torch
from conftest import LENGTH, collated, gangs, pair_of
from fairseq2.metrics import MetricBag

from sld_user_dir.criterions.loss_options import SldCriterionConfig
from sld_user_dir.criterions.sld_criterion import SldCriterion
from sld_user_dir.fairseq2.objective_section import ObjectiveSection, build_objective
from sld_user_dir.fairseq2.recipe_config import SearchSection
from sld_user_dir.fairseq2.recipe_parts import generator_of
from sld_user_dir.fairseq2.state_names import to_fairseq
from sld_user_dir.fairseq2.training_units import UnitTrainUnit
from sld_user_dir.fairseq2.unit_batch import UnitBatch
from sld_user_dir.fairseq2.unit_batch_reader import UnitBatchReader
from sld_user_dir.fairseq2.unit_loss import UnitLoss
from sld_user_dir.losses.normalisation import UPDATE, annotate
from sld_user_dir.losses.term import Context
from sld_user_dir.models.generation import build_generator, generation_config

TOLERANCE = 1e-5
OBJECTIVES = {
    "sld": {},
    "tokens": {"kl_denominator": "token", "kl_temperature": 2.0},
    "official": {"kl_variant": "official"},
    "ctc": {"ctc_weight": 0.3, "kl_weight": 0.0},
    "text": {"speech_weight": 0.0, "kl_weight": 0.0},
}


def losses_of(task, theirs, ours, options, workers=None):
    section = ObjectiveSection(**options)
    objective = build_objective(section, Context(vocab=task.vocab))
    return (
        SldCriterion(task, SldCriterionConfig(**options)),
        UnitLoss(ours, ours, objective, task.vocab, workers or gangs()),
    )


def gradients(model):
    """By fairseq2's names."""
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def assert_same_gradients(theirs, ours, task):
    found = to_fairseq(gradients(ours), task.vocab.pad)
    expected = {name: value.grad for name, value in theirs.named_parameters() if value.grad is not None}
    assert found and found.keys() == expected.keys()
    for name, value in expected.items():
        rows = slice(task.vocab.pad + 1, None) if "embed_positions" in name else slice(None)
        torch.testing.assert_close(found[name][rows], value[rows], atol=TOLERANCE, rtol=TOLERANCE, msg=name)


def step_of(loss, vocab, batches):
    """What fairseq2's trainer does with the batches of one update of one worker."""
    unit, bag, total = UnitTrainUnit(loss, vocab), MetricBag(device=torch.device("cpu")), 0.0
    for sample in batches:
        value, targets = unit.process_batch(UnitBatch(sample), bag)
        assert targets is None
        value = value / len(batches)
        value.backward()
        total += value.item()
    return total


@pytest.mark.parametrize("learned", [False, True], ids=["sinusoidal", "learned"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_and_gradients_are_those_of_fairseq(task, data, name, learned):
    theirs, ours = pair_of(task, learned)
    sample = collated(data, [0, 3, 4, 9])
    criterion, loss = losses_of(task, theirs, ours, OBJECTIVES[name])
    expected, size, _ = criterion(theirs, sample)
    expected.backward()
    found = step_of(loss, task.vocab, [sample])
    print(f"{name}: fairseq {expected.item():.9f}, fairseq2 {found:.9f}")
    assert size == 1 and found == pytest.approx(expected.item(), rel=TOLERANCE)
    assert_same_gradients(theirs, ours, task)


def test_three_denominators_are_exact_over_workers_and_accumulation(task, data):
    """Two workers with two batches each, of unequal size, are one batch of all."""
    rows = [[[0, 1, 2], [3]], [[4, 5], [6, 7, 8, 9]]]
    theirs, ours = pair_of(task, learned=False)
    criterion, _ = losses_of(task, theirs, ours, {})
    expected, _, _ = criterion(theirs, collated(data, list(range(10))))
    expected.backward()
    groups = [annotate([collated(data, batch) for batch in worker], criterion.divisors) for worker in rows]
    totals = [group[0][UPDATE]["totals"] for group in groups]
    assert len(totals[0]) == 3 and len(set(totals[0].tolist())) == 3  # text, speech and sentences
    sums = []
    for rank, group in enumerate(groups):
        workers = gangs(size=2, rank=rank, others=totals[1 - rank])
        sums.append(step_of(losses_of(task, theirs, ours, {}, workers)[1], task.vocab, group))
    for parameter in ours.parameters():  # the wrapper for data parallelism takes the mean over workers
        parameter.grad = None if parameter.grad is None else parameter.grad / 2
    assert np.mean(sums) == pytest.approx(expected.item(), rel=TOLERANCE)
    assert_same_gradients(theirs, ours, task)


def test_fused_and_plain_form_agree(task, data):
    _, ours = pair_of(task, learned=False)
    objective = build_objective(ObjectiveSection(), Context(vocab=task.vocab))
    values = [
        UnitLoss(ours, ours, objective, task.vocab, gangs(), form)(collated(data, [1, 2]), True).value.item()
        for form in ("fused", "plain")
    ]
    assert values[0] == pytest.approx(values[1], rel=TOLERANCE)


@pytest.mark.parametrize("beam", [1, 4])
def test_hypotheses_are_those_of_fairseq(task, data, beam):
    theirs, ours = pair_of(task, learned=False)
    sample = collated(data, range(7), "valid")
    models = [theirs.eval()]
    expected = build_generator(models, task.vocab, generation_config(beam, max_len_b=12)).generate(models, sample)
    found = generator_of(ours.eval(), task.vocab, SearchSection(beam=beam, max_len_b=12)).generate(None, sample)
    for one, other in zip(expected, found):
        assert [h["tokens"].tolist() for h in one] == [h["tokens"].tolist() for h in other]
        np.testing.assert_allclose([h["score"] for h in one], [h["score"] for h in other], atol=TOLERANCE)


def test_weights_go_to_fairseq_and_back(task):
    for learned in (False, True):
        theirs, ours = pair_of(task, learned)
        back = to_fairseq(ours.state_dict(), task.vocab.pad)
        known = {n: v for n, v in theirs.state_dict().items() if n in back}
        assert known.keys() == back.keys()
        for name, value in known.items():
            rows = slice(task.vocab.pad + 1 if "embed_positions" in name else 0, None)  # those before are never read
            torch.testing.assert_close(back[name][rows], value[rows], atol=0, rtol=0)


def test_batches_and_their_order_are_those_of_fairseq(task, data):
    task.load_dataset("train")
    theirs = task.get_batch_iterator(task.datasets["train"], max_tokens=120, seed=1, required_batch_size_multiple=8)
    expected = [batch["id"].tolist() for _ in range(2) for batch in theirs.next_epoch_itr(shuffle=True)]
    reader = UnitBatchReader(
        data.open_split("train", LENGTH, shuffle=True), gangs(), max_num_tokens=120, num_seqs_multiple_of=8, seed=1
    )
    found = [batch.sample["id"].tolist() for batches in reader for batch in batches]
    reader.reset()
    found += [batch.sample["id"].tolist() for batches in reader for batch in batches]
    assert found == expected


def test_every_worker_gets_as_many_batches_and_a_reader_goes_on_where_it_was(data):
    def reader(size, rank):
        dataset = data.open_split("train", LENGTH, shuffle=True)
        return UnitBatchReader(dataset, gangs(size=size, rank=rank), max_num_tokens=60, num_accumulate=2)

    whole = [row for batches in reader(1, 0) for one in batches for row in one.sample["id"].tolist()]
    shares = [[one.sample for batches in reader(3, rank) for one in batches] for rank in range(3)]
    assert len({len(share) for share in shares}) == 1
    dealt = [row for share in shares for one in share if one["nsentences"] for row in one["id"].tolist()]
    assert sorted(dealt) == sorted(whole) == list(range(30))
    first, second = reader(1, 0), reader(1, 0)
    next(first)
    second.load_state_dict(first.state_dict())
    assert next(first)[0].sample["id"].tolist() == next(second)[0].sample["id"].tolist()
