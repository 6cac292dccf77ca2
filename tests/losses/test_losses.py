"""The closed forms of the loss terms against the explicit definitions of `reference`."""

import dataclasses
import math
from typing import Any, Dict, Tuple

import pytest
import torch
from hypothesis import given, settings
from support import reference
from support.losses import OFFSET, PAD, LossOptions, batches, closed_form, objectives, oracle, random_batch
from torch import Tensor

from sld_user_dir.errors import InputError
from sld_user_dir.losses.label_smoothing import effective_label_smoothing
from sld_user_dir.losses.objective import Objective
from sld_user_dir.losses.terms.cross_entropy import SpeechCrossEntropy, TextCrossEntropy
from sld_user_dir.losses.terms.official_kl import OfficialKL
from sld_user_dir.losses.terms.smoothed_kl import SmoothedKL


def assert_same_with_gradients(objective: LossOptions, src: Tensor, target: Tensor, k: int) -> None:
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
def test_plain_loss_is_the_definition(objective: LossOptions, batch: Tuple[Tensor, Tensor]) -> None:
    assert_same_with_gradients(objective, *batch, k=5)


@pytest.mark.parametrize("variant", ["paper", "official"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_single_unit(variant: str, temperature: float) -> None:
    objective = LossOptions(kl_variant=variant, temperature=temperature, kl_weight=1.0)
    assert_same_with_gradients(objective, *random_batch(1, 2, 6, 1), k=1)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_gradcheck(variant: str) -> None:
    objective = LossOptions(kl_variant=variant, kl_weight=0.5, temperature=1.5, text_label_smoothing=0.1)
    src, target = random_batch(3, 2, 5, 4, feed_last=True)
    logits = torch.randn(2, 5, OFFSET + 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: closed_form(z, src, target, objective), logits)


@pytest.mark.parametrize("kind", ["padding", "text", "speech"])
@pytest.mark.parametrize("variant", ["paper", "official"])
def test_degenerate_batches_are_finite(kind: str, variant: str) -> None:
    ids = {"padding": PAD, "text": 5, "speech": OFFSET + 1}
    target = torch.full((2, 3), ids[kind])
    assert_same_with_gradients(LossOptions(kl_variant=variant), target, target, k=4)


def test_the_rest_of_a_padded_batch_changes_nothing() -> None:
    src, target = random_batch(5, 2, 6, 5)
    logits = torch.randn(2, 6, OFFSET + 5, dtype=torch.float64)
    wider = torch.nn.functional.pad(logits, (0, 0, 0, 3), value=1e4)
    padded = [torch.nn.functional.pad(ids, (0, 3), value=PAD) for ids in (src, target)]
    for variant in ("paper", "official"):
        objective = LossOptions(kl_variant=variant)
        torch.testing.assert_close(closed_form(wider, *padded, objective), closed_form(logits, src, target, objective))


def test_official_target_at_6000_units() -> None:
    """The figures that the documentation states: nearly uniform, entropy 8.6994 of 8.6995 nats."""
    a, b = OfficialKL().target(6000)
    assert a == pytest.approx(4.1e-4, rel=5e-3) and b == pytest.approx(1.67e-4, rel=5e-3)
    q = reference.smoothed_target(17, 6000, 0.1, "official", 1.0)
    assert q[17].item() == pytest.approx(a, rel=1e-12)
    assert q[0].item() == pytest.approx(b, rel=1e-12)
    entropy = -(a * math.log(a) + 5999 * b * math.log(b))
    assert f"{entropy:.4f} {math.log(6000):.4f}" == "8.6994 8.6995"


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_official_kl_acts_as_label_smoothing(temperature: float) -> None:
    """Together they are label smoothing.

    Cross-entropy inside the units + alpha KL over sentences has, at T = 1, the gradient of
    (1 + alpha N) times the cross-entropy against a target with mass alpha N / (1 + alpha N) on q.

    For T != 1 the second part is T (softmax(z/T) - q), no longer the same softmax.
    """
    k, n, alpha = 50, 40, 0.05
    objective = LossOptions(
        text_weight=0.0, kl_weight=alpha, kl_variant="official", temperature=temperature, speech_within_units=True
    )
    torch.manual_seed(0)
    target = torch.randint(OFFSET, OFFSET + k, (1, n))
    logits = torch.randn(1, n, OFFSET + k, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(closed_form(logits, target, target, objective), logits)
    a, b = objective.kl().target(k)
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
    inside = LossOptions(0.0, 1.0, 0.0, speech_within_units=True)
    objective = dataclasses.replace(inside, kl_weight=alpha, kl_variant=variant, kl_denominator=denominator)
    strength = alpha * (6 if denominator == "sentence" else 1)
    smoothed = dataclasses.replace(
        inside, speech_weight=1 + strength, speech_label_smoothing=effective_label_smoothing(objective.kl(), 1.0, k, 6)
    )
    logits = torch.randn(2, 8, OFFSET + k, dtype=torch.float64, requires_grad=True)
    both = [torch.autograd.grad(closed_form(logits, target, target, kind), logits)[0] for kind in (objective, smoothed)]
    torch.testing.assert_close(*both, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "wrong", [{"kl_denominator": "utterance"}, {"temperature": 0.0}, {"smoothing": 1.5}, {"text_label_smoothing": -0.1}]
)
def test_wrong_options_are_refused(wrong: Dict[str, Any]) -> None:
    name = next(iter(wrong)).removeprefix("kl_").replace("_", "-")
    with pytest.raises(InputError, match=f"--.*{name}"):
        LossOptions(**wrong).objective()


def test_an_objective_without_weight_is_refused() -> None:
    with pytest.raises(InputError, match="no weight may be below 0, and one must be above it"):
        LossOptions(text_weight=0.0, speech_weight=0.0, kl_weight=0.0).objective()
    with pytest.raises(InputError, match=r"'speech': -1.*no weight may be below 0"):
        LossOptions(speech_weight=-1.0).objective()


def test_terms_agree_on_a_temperature() -> None:
    assert Objective([TextCrossEntropy(), SmoothedKL(temperature=2.0)]).temperature == 2
    with pytest.raises(InputError, match="one temperature for all"):
        Objective([SpeechCrossEntropy(), SmoothedKL(temperature=2.0), OfficialKL(temperature=3.0)])
