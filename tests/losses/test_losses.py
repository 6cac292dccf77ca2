"""The closed forms of `losses.py` against the explicit definitions of `reference.py`."""

import dataclasses
import math
from typing import Any, Dict, Tuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference
from torch import Tensor

from sld_user_dir.losses.normalisation import count_targets, denominators
from sld_user_dir.losses.objective import Objective, effective_label_smoothing
from sld_user_dir.losses.positions import Layout, select_rows
from sld_user_dir.losses.statistics import Denominators, plain_loss

PAD, EOS, SEPARATOR, OFFSET = 1, 2, 8, 9


def layout(num_units: int) -> Layout:
    return Layout(OFFSET, num_units, SEPARATOR, PAD)


def random_batch(
    seed: int, batch: int, length: int, num_units: int, left: bool = False, feed_last: bool = False
) -> Tuple[Tensor, Tensor]:
    """(src_tokens, target), each (B, L): units, separator, text, </s>, padding on either side.

    With `feed_last` the </s> of a padded row is an input too, whose target is padding.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, size: int) -> Tensor:
        return torch.randint(low, high, (size,), generator=generator)

    src = torch.full((batch, length), PAD)
    target = src.clone()
    for row in range(batch):
        n = int(draw(1, max(length - 1, 2), 1))
        m = int(draw(0, max(length - n, 1), 1))
        ids = torch.cat(
            [draw(OFFSET, OFFSET + num_units, n), torch.tensor([SEPARATOR]), draw(4, SEPARATOR, m), torch.tensor([EOS])]
        )[: length + 1]
        size = len(ids) - 1
        at = slice(length - size, length) if left else slice(0, size)
        src[row, at], target[row, at] = ids[:-1], ids[1:]
        if feed_last and not left and size < length:
            src[row, size] = EOS
    return src, target


def counts_of(src: Tensor, target: Tensor, lay: Layout, objective: Objective) -> Denominators:
    sample = {"target": target, "net_input": {"src_tokens": src}}
    return denominators(count_targets(sample, lay), objective)


def closed_form(logits: Tensor, src: Tensor, target: Tensor, objective: Objective) -> Tensor:
    lay = layout(logits.size(-1) - OFFSET)
    rows = select_rows(src, target, lay, objective.official)
    divisors = counts_of(src, target, lay, objective)
    return plain_loss(logits, rows, objective, lay, divisors)[0]


def oracle(logits: Tensor, src: Tensor, target: Tensor, objective: Objective) -> Tensor:
    options: Dict[str, Any] = dataclasses.asdict(objective)
    return reference.loss(logits, src, target, PAD, SEPARATOR, OFFSET, **options)[0]


weights = st.tuples(*(st.sampled_from([0.0, 0.008, 1.3]) for _ in range(3))).filter(any)
objectives = st.builds(
    lambda weights, **options: Objective(*weights, **options),
    weights,
    kl_variant=st.sampled_from(["paper", "official"]),
    kl_denominator=st.sampled_from(["sentence", "token"]),
    temperature=st.sampled_from([1.0, 2.5, 0.5]),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    text_label_smoothing=st.sampled_from([0.0, 0.2, 1.0]),
    speech_label_smoothing=st.sampled_from([0.0, 0.3, 1.0]),
    speech_within_units=st.booleans(),
)
batches = st.builds(
    random_batch,
    seed=st.integers(0, 999),
    batch=st.integers(1, 3),
    length=st.integers(1, 7),
    num_units=st.just(5),
    left=st.booleans(),
    feed_last=st.booleans(),
)


def assert_same_with_gradients(objective: Objective, src: Tensor, target: Tensor, k: int) -> None:
    torch.manual_seed(0)
    logits = (3 * torch.randn(*src.shape, OFFSET + k, dtype=torch.float64)).requires_grad_()
    expected = oracle(logits, src, target, objective)
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    value = closed_form(logits, src, target, objective)
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(objective=objectives, batch=batches)
def test_plain_loss_is_the_definition(objective: Objective, batch: Tuple[Tensor, Tensor]) -> None:
    assert_same_with_gradients(objective, *batch, k=5)


@pytest.mark.parametrize("variant", ["paper", "official"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_single_unit(variant: str, temperature: float) -> None:
    objective = Objective(kl_variant=variant, temperature=temperature, kl_weight=1.0)
    assert_same_with_gradients(objective, *random_batch(1, 2, 6, 1), k=1)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_gradcheck(variant: str) -> None:
    objective = Objective(kl_variant=variant, kl_weight=0.5, temperature=1.5, text_label_smoothing=0.1)
    src, target = random_batch(3, 2, 5, 4, feed_last=True)
    logits = torch.randn(2, 5, OFFSET + 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: closed_form(z, src, target, objective), logits)


@pytest.mark.parametrize("kind", ["padding", "text", "speech"])
@pytest.mark.parametrize("variant", ["paper", "official"])
def test_degenerate_batches_are_finite(kind: str, variant: str) -> None:
    ids = {"padding": PAD, "text": 5, "speech": OFFSET + 1}
    target = torch.full((2, 3), ids[kind])
    assert_same_with_gradients(Objective(kl_variant=variant), target, target, k=4)


def test_the_rest_of_a_padded_batch_changes_nothing() -> None:
    src, target = random_batch(5, 2, 6, 5)
    logits = torch.randn(2, 6, OFFSET + 5, dtype=torch.float64)
    wider = torch.nn.functional.pad(logits, (0, 0, 0, 3), value=1e4)
    padded = [torch.nn.functional.pad(ids, (0, 3), value=PAD) for ids in (src, target)]
    for variant in ("paper", "official"):
        objective = Objective(kl_variant=variant)
        torch.testing.assert_close(closed_form(wider, *padded, objective), closed_form(logits, src, target, objective))


def test_official_target_at_6000_units() -> None:
    """The figures that the documentation states: nearly uniform, entropy 8.6994 of 8.6995 nats."""
    a, b = Objective(kl_variant="official").kl_target(6000)
    assert a == pytest.approx(4.1e-4, rel=5e-3) and b == pytest.approx(1.67e-4, rel=5e-3)
    q = reference.smoothed_target(17, 6000, 0.1, "official", 1.0)
    assert q[17].item() == pytest.approx(a, rel=1e-12)
    assert q[0].item() == pytest.approx(b, rel=1e-12)
    entropy = -(a * math.log(a) + 5999 * b * math.log(b))
    assert f"{entropy:.4f} {math.log(6000):.4f}" == "8.6994 8.6995"


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_official_kl_acts_as_label_smoothing(temperature: float) -> None:
    """Cross-entropy inside the units + alpha KL over sentences has, at T = 1, the gradient of
    (1 + alpha N) times the cross-entropy against a target with mass alpha N / (1 + alpha N) on q.

    For T != 1 the second part is T (softmax(z/T) - q), no longer the same softmax.
    """
    k, n, alpha = 50, 40, 0.05
    objective = Objective(
        text_weight=0.0, kl_weight=alpha, kl_variant="official", temperature=temperature, speech_within_units=True
    )
    torch.manual_seed(0)
    target = torch.randint(OFFSET, OFFSET + k, (1, n))
    logits = torch.randn(1, n, OFFSET + k, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(closed_form(logits, target, target, objective), logits)
    a, b = objective.kl_target(k)
    y = torch.nn.functional.one_hot(target[0] - OFFSET, k).double()
    q = b + (a - b) * y
    strength = alpha * n
    units = logits.detach()[0, :, OFFSET:]
    if temperature == 1:
        mass = strength / (1 + strength)
        smoothed = (1 - mass) * y + mass * q
        expected = (1 + strength) * (units.softmax(1) - smoothed)
    else:
        pull = temperature * ((units / temperature).softmax(1) - q)
        expected = units.softmax(1) - y + strength * pull
    torch.testing.assert_close(n * gradient[0, :, OFFSET:], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("variant", ["paper", "official"])
@pytest.mark.parametrize("denominator", ["sentence", "token"])
def test_effective_label_smoothing(variant: str, denominator: str) -> None:
    """CE_speech + alpha KL = (1 + r) label-smoothed CE_speech, over sentences of two lengths.

    It is the mean length of the update that counts, not each utterance's own.
    """
    k, alpha = 11, 0.3
    target = torch.randint(OFFSET, OFFSET + k, (2, 8))
    target[1, 4:] = PAD  # 8 and 4 speech tokens: 6 on average
    inside = Objective(0.0, 1.0, 0.0, speech_within_units=True)
    objective = dataclasses.replace(inside, kl_weight=alpha, kl_variant=variant, kl_denominator=denominator)
    strength = alpha * (6 if denominator == "sentence" else 1)
    smoothed = dataclasses.replace(
        inside, speech_weight=1 + strength, speech_label_smoothing=effective_label_smoothing(objective, k, 6)
    )
    logits = torch.randn(2, 8, OFFSET + k, dtype=torch.float64, requires_grad=True)
    both = [torch.autograd.grad(closed_form(logits, target, target, kind), logits)[0] for kind in (objective, smoothed)]
    torch.testing.assert_close(*both, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "wrong", [{"kl_variant": "other"}, {"kl_denominator": "utterance"}, {"temperature": 0.0}, {"smoothing": 1.5}]
)
def test_wrong_options_are_refused(wrong: Dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Objective(**wrong)


def test_an_objective_without_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="weight"):
        Objective(text_weight=0.0, speech_weight=0.0, kl_weight=0.0)
