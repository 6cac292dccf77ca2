"""The fused projection + loss against the oracle and against the plain form."""

import dataclasses
import itertools
from typing import Dict, Optional, Sequence, Tuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.losses import (
    OFFSET,
    PAD,
    SEPARATOR,
    LossOptions,
    batches,
    fused_form,
    hidden_and_weight,
    objectives,
    oracle,
    plain_form,
    random_batch,
    selected,
)
from torch import Tensor

from sld_user_dir.losses import fused
from sld_user_dir.losses.fused import fused_loss
from sld_user_dir.losses.objective import plain_loss

DIM = 6


@settings(max_examples=60, deadline=None)
@given(objective=objectives, batch=batches, chunk_size=st.sampled_from([1, 2, 3, None]))
def test_fused_loss_is_the_definition(
    objective: LossOptions, batch: Tuple[Tensor, Tensor], chunk_size: Optional[int]
) -> None:
    inputs = hidden_and_weight(batch[0], k=5)
    expected = oracle(inputs[0] @ inputs[1].t(), *batch, objective)
    expected_gradients = torch.autograd.grad(expected, inputs)
    value, parts, correct = fused_form(*inputs, *batch, objective, chunk_size)
    gradients = torch.autograd.grad(value, inputs)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
    for gradient, wanted in zip(gradients, expected_gradients):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-9)
    _, plain_parts, plain_correct = plain_form(*inputs, *batch, objective)
    for ours, plain in zip(parts, plain_parts):
        assert (ours.name, ours.kind) == (plain.name, plain.kind)
        torch.testing.assert_close((ours.total, ours.cases), (plain.total, plain.cases), rtol=1e-9, atol=1e-9)
    text = selected(*batch, 5, objective.objective())[0].is_text
    if objective.text_weight:
        assert torch.equal(correct[text], plain_correct[text])


@pytest.mark.parametrize("blocks", [1, 10**6])
def test_blocks_change_nothing(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BLOCK_LOGITS", "CPU_PRODUCT_BLOCK"):
        monkeypatch.setattr(fused, name, blocks)
    src, target = random_batch(2, 3, 7, 5)
    objective = LossOptions(kl_variant="official", temperature=2.0)
    inputs = hidden_and_weight(src, k=5)
    value, _, _ = fused_form(*inputs, src, target, objective)
    torch.testing.assert_close(value, plain_form(*inputs, src, target, objective)[0])


class Replay(torch.autograd.Function):
    """Keeps the gradients of one fused backward: gradcheck wants many, the fused form runs one."""

    @staticmethod
    def forward(ctx, hidden, weight, src, target, objective):  # type: ignore[no-untyped-def]
        with torch.enable_grad():
            inputs = [tensor.detach().requires_grad_() for tensor in (hidden, weight)]
            value, _, _ = fused_form(*inputs, src, target, objective, 2)
            ctx.gradients = torch.autograd.grad(value, inputs)
        return value.detach()

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        return (*(grad * gradient for gradient in ctx.gradients), None, None, None)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_gradcheck(variant: str) -> None:
    objective = LossOptions(kl_variant=variant, kl_weight=0.5, temperature=1.5)
    src, target = random_batch(3, 2, 4, 3)
    inputs = hidden_and_weight(src, k=3)
    assert torch.autograd.gradcheck(lambda *tensors: Replay.apply(*tensors, src, target, objective), inputs)


def test_tied_weight_gets_both_gradients() -> None:
    """The embedding looks its rows up and projects: autograd adds the two gradients."""
    src, target = random_batch(4, 2, 6, 5)
    _, weight = hidden_and_weight(src, k=5)
    gradients = [
        torch.autograd.grad(form(weight[src], weight, src, target, LossOptions())[0], weight)[0]
        for form in (fused_form, plain_form)
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ids", [PAD, 5, OFFSET + 1])
@pytest.mark.parametrize("variant", ["paper", "official"])
def test_degenerate_batches(ids: int, variant: str) -> None:
    """All padding, no speech, no text: finite, as the definition, gradients for every input."""
    target, src = torch.full((2, 3), ids), torch.full((2, 3), OFFSET)
    objective = LossOptions(kl_variant=variant)
    inputs = hidden_and_weight(target, k=4)
    value, _, _ = fused_form(*inputs, src, target, objective)
    expected = oracle(inputs[0] @ inputs[1].t(), src, target, objective)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
    gradients = torch.autograd.grad(value, inputs)
    assert all(gradient.isfinite().all() for gradient in gradients)
    if ids == PAD:
        assert value == 0 and not any(gradient.any() for gradient in gradients)


def test_a_single_unit() -> None:
    src, target = random_batch(6, 2, 6, 1)
    inputs = hidden_and_weight(src, k=1)
    value, _, _ = fused_form(*inputs, src, target, LossOptions(kl_weight=1.0))
    expected = oracle(inputs[0] @ inputs[1].t(), src, target, LossOptions(kl_weight=1.0))
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lead", [100.0, -100.0])
def test_an_improbable_part_stays_exact(lead: float) -> None:
    """The softmax over the units must not be taken out of one over everything: it underflows."""
    src = target = torch.tensor([[5, OFFSET, 7]])
    objective = LossOptions(kl_variant="official", kl_weight=1.0)
    hidden, weight = hidden_and_weight(src, k=4, dtype=torch.float32)
    with torch.no_grad():
        hidden.fill_(1.0)
        weight[:OFFSET] += lead
    gradients = torch.autograd.grad(fused_form(hidden, weight, src, target, objective)[0], hidden)
    wide = [tensor.detach().double().requires_grad_() for tensor in (hidden, weight)]
    expected = torch.autograd.grad(oracle(wide[0] @ wide[1].t(), src, target, objective), wide[0])
    torch.testing.assert_close(gradients[0].double(), expected[0], rtol=1e-4, atol=1e-4)


TOLERANCE: Dict[torch.dtype, float] = {torch.float16: 0.01, torch.bfloat16: 0.06}


def relative_error(ours: Tensor, exact: Tensor) -> float:
    return float((ours.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("tokens", [1.0, 1e6])
def test_half_precision(dtype: torch.dtype, tokens: float) -> None:
    """Close to float64 on the same rounded inputs, even where 1/tokens is below float16."""
    src, target = random_batch(8, 3, 7, 5)
    hidden, weight = hidden_and_weight(src, k=5, dtype=dtype)
    objective = LossOptions(kl_weight=1.0).objective()
    at, divisors = selected(src, target, 5, objective)
    divisors = divisors * tokens
    scale = 128.0 * tokens  # fairseq's loss scale
    value, _, _ = fused_loss(hidden, weight, at, objective, divisors, 4)
    gradients = torch.autograd.grad(value * scale, (hidden, weight))
    wide = [tensor.detach().double().requires_grad_() for tensor in (hidden, weight)]
    exact, _, _ = plain_loss(wide[0] @ wide[1].t(), at, objective, divisors)
    expected = torch.autograd.grad(exact * scale, wide)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=TOLERANCE[dtype])
    for gradient, wanted in zip(gradients, expected):
        assert gradient.dtype == dtype
        assert relative_error(gradient, wanted) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_autocast(dtype: torch.dtype) -> None:
    src, target = random_batch(9, 2, 6, 5)
    hidden, weight = hidden_and_weight(src, k=5, dtype=torch.float32)
    with torch.autocast("cpu", dtype=dtype):
        value, _, _ = fused_form(hidden, weight, src, target, LossOptions())
    gradients = torch.autograd.grad(value, (hidden, weight))
    exact = plain_form(hidden, weight, src, target, LossOptions())[0]
    expected = torch.autograd.grad(exact, (hidden, weight))
    for gradient, wanted in zip(gradients, expected):
        assert gradient.dtype == torch.float32
        assert relative_error(gradient, wanted.double()) < TOLERANCE[dtype]


def test_large_half_precision_sums_do_not_overflow() -> None:
    """Every position has all its probability on one token: the greatest possible column sum."""
    src = target = torch.full((1, 400), OFFSET)
    hidden = torch.full((1, 400, DIM), 8.0, dtype=torch.float16, requires_grad=True)
    weight = torch.zeros(OFFSET + 2, DIM, dtype=torch.float16)
    weight[5] = 4.0
    value, _, _ = fused_form(hidden, weight.requires_grad_(), src, target, LossOptions())
    gradients = torch.autograd.grad(value, (hidden, weight))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients[1][5, 0].item() == pytest.approx(8.0, rel=0.01)


def test_evaluation_computes_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("gradients were computed")

    src, target = random_batch(1, 2, 5, 4)
    inputs = hidden_and_weight(src, k=4)
    expected = fused_form(*inputs, src, target, LossOptions())[0].detach()
    monkeypatch.setattr(fused._ChunkedProjection, "accumulate", refuse)
    with torch.no_grad():
        value, _, _ = fused_form(*inputs, src, target, LossOptions())
    torch.testing.assert_close(value, expected)


def test_the_gradient_is_scaled_by_what_follows_the_loss() -> None:
    src, target = random_batch(1, 2, 5, 4)
    inputs = hidden_and_weight(src, k=4)
    gradients = [
        torch.autograd.grad(3 * form(*inputs, src, target, LossOptions())[0], inputs)
        for form in (fused_form, plain_form)
    ]
    for ours, plain in zip(*gradients):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)


def test_a_frozen_projection_gets_no_gradient() -> None:
    src, target = random_batch(1, 2, 5, 4)
    hidden, weight = hidden_and_weight(src, k=4)
    fused_form(hidden, weight.detach(), src, target, LossOptions())[0].backward()
    assert hidden.grad is not None and hidden.grad.any()


def test_a_second_backward_is_refused() -> None:
    src, target = random_batch(1, 2, 5, 4)
    value, _, _ = fused_form(*hidden_and_weight(src, k=4), src, target, LossOptions())
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="loss-form plain"):
        value.backward()


def projected(objective: LossOptions, src: Tensor, target: Tensor) -> Dict[int, int]:
    """How many positions are projected to matrices of how many rows."""
    widths: Dict[int, int] = {}
    original = fused._ChunkedProjection.accumulate

    def spy(self: fused._ChunkedProjection, gradients: Sequence[Tensor], *args: object) -> None:
        width = sum(gradient.size(1) for gradient in gradients)
        widths[width] = widths.get(width, 0) + gradients[0].size(0)
        original(self, gradients, *args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused._ChunkedProjection, "accumulate", spy)
        fused_form(*hidden_and_weight(src, k=5), src, target, objective)
    return widths


def test_only_positions_with_a_loss_are_projected() -> None:
    src, target = random_batch(11, 3, 7, 5)
    text = int(((target != PAD) & (target < SEPARATOR)).sum())
    speech = int((target >= OFFSET).sum())
    assert text and speech
    masked = LossOptions(speech_weight=0.0, kl_weight=0.0)
    assert projected(masked, src, target) == {OFFSET + 5: text}
    inside = dataclasses.replace(LossOptions(), speech_within_units=True)
    assert projected(inside, src, target) == {OFFSET + 5: text, 5: speech}
    assert projected(LossOptions(), src, target) == {OFFSET + 5: text + speech}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("cuts", [(), (4,), (1, 4, OFFSET), (2, OFFSET + 1), (OFFSET,)])
def test_matrix_in_parts_is_the_whole_matrix(cuts: Tuple[int, ...], dtype: torch.dtype) -> None:
    """Wherever it is cut; and a frozen part gets no gradient, while nothing else changes."""
    src, target = random_batch(2, 3, 7, 5)
    objective = LossOptions(kl_variant="official", temperature=2.0).objective(None)
    hidden, weight = hidden_and_weight(src, k=5, dtype=dtype)
    at, divisors = selected(src, target, 5, objective)
    whole, stats, correct = fused_loss(hidden, weight, at, objective, divisors, 3)
    of_hidden, of_weight = torch.autograd.grad(whole, (hidden, weight))
    # each part's product is rounded by itself
    near = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 0.02, "atol": 1e-3}
    bounds = [0, *cuts, len(weight)]
    for frozen in range(-1, len(bounds) - 1):
        parts = [
            weight[first:end].detach().clone().requires_grad_(number != frozen)
            for number, (first, end) in enumerate(itertools.pairwise(bounds))
        ]
        value, own_stats, own_correct = fused_loss(hidden, parts, at, objective, divisors, 3)
        torch.testing.assert_close((value, own_stats.full), (whole, stats.full))
        assert torch.equal(own_correct, correct)
        trained = [part for part in parts if part.requires_grad]
        own_of_hidden, *gradients = torch.autograd.grad(value, (hidden, *trained))
        torch.testing.assert_close(own_of_hidden, of_hidden, **near)
        rows = enumerate(itertools.pairwise(bounds))
        wanted = [of_weight[first:end] for number, (first, end) in rows if number != frozen]
        for gradient, expected in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(gradient, expected, **near)
