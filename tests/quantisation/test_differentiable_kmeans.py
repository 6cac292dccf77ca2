"""Differentiable k-means against slow sums, finite differences, and the k-means that it starts from."""

import math
from typing import Tuple

import numpy as np
import pytest
import torch
from torch import Tensor

from sld_user_dir.clustering.assign import CpuAssigner
from sld_user_dir.clustering.kmeans_file import Centroids, KMeansError
from sld_user_dir.errors import InputError
from sld_user_dir.quantisation.differentiable_kmeans import DifferentiableKMeans
from sld_user_dir.quantisation.temperature_schedule import TemperatureSchedule
from sld_user_dir.quantisation.unit_usage import MEMORY_UPDATES, UnitUsage, collapse_loss

K, D, N = 5, 3, 40


def start(seed: int = 0) -> Centroids:
    return Centroids(np.random.default_rng(seed).normal(size=(K, D)).astype(np.float32) * 3, "km.npz")


def make(hard: bool = True, sharpness: float = 1.0, moved: bool = True) -> DifferentiableKMeans:
    quantiser = DifferentiableKMeans(start(), sharpness, hard).double()
    if moved:
        torch.manual_seed(2)
        with torch.no_grad():
            quantiser.shift.normal_(std=0.3)
    return quantiser


def frames(n: int = N) -> Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3


def slow_log_probabilities(quantiser: DifferentiableKMeans, x: Tensor) -> Tensor:
    """(n, K), distance by distance."""
    values = quantiser.start
    nearest = [min(float((values[i] - values[j]).square().sum()) for j in range(K) if j != i) for i in range(K)]
    spacing, centroids = sum(nearest) / K, quantiser.centroids.detach()
    rows = []
    for frame in x:
        scores = [-quantiser.sharpness * float((frame - c).square().sum()) / spacing for c in centroids]
        top = max(scores)
        total = top + math.log(sum(math.exp(score - top) for score in scores))
        rows.append([score - total for score in scores])
    return torch.tensor(rows, dtype=torch.float64)


def gumbel_weights(quantiser: DifferentiableKMeans, x: Tensor, temperature: float, seed: int) -> Tuple[Tensor, Tensor]:
    """(n, K) soft sample by the definition, and its largest, of the noise that the quantiser draws with this seed."""
    torch.manual_seed(seed)
    noise = torch.empty(len(x), K, dtype=torch.float64).exponential_()
    y = torch.exp((quantiser.log_probabilities(x) - noise.log()) / temperature)
    return y / y.sum(1, keepdim=True), y.argmax(1)


def test_probabilities_are_those_of_the_equation() -> None:
    quantiser, x = make(sharpness=0.7), frames()
    found = quantiser.log_probabilities(x).detach()
    torch.testing.assert_close(found, slow_log_probabilities(quantiser, x), rtol=1e-6, atol=1e-9)


def test_gradients_of_frames_and_centroids() -> None:
    quantiser, x = make(hard=False), frames(4).requires_grad_()

    def soft(x: Tensor, shift: Tensor) -> Tensor:
        torch.manual_seed(0)
        return torch.func.functional_call(quantiser, {"shift": shift}, (x, 0.7)).weights

    def measured(x: Tensor, shift: Tensor) -> Tensor:
        found = torch.func.functional_call(quantiser, {"shift": shift}, (x,)).log_probabilities
        return collapse_loss(found)

    inputs = (x, quantiser.shift.detach().clone().requires_grad_())
    assert torch.autograd.gradcheck(soft, inputs)
    assert torch.autograd.gradcheck(measured, inputs)


@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_the_hard_form_is_one_hot_with_the_gradient_of_the_soft_one(temperature: float) -> None:
    x, slope = frames(), torch.randn(N, K, dtype=torch.float64)
    gradients = []
    for hard in (True, False):
        quantiser = make(hard)
        torch.manual_seed(3)
        found = quantiser(x, temperature)
        soft, units = gumbel_weights(quantiser, x, temperature, seed=3)
        assert torch.equal(found.units, units)
        expected = torch.nn.functional.one_hot(units, K).double() if hard else soft
        torch.testing.assert_close(found.weights.detach(), expected.detach())
        (found.weights * slope).sum().backward()
        gradients.append(quantiser.shift.grad)
    torch.testing.assert_close(*gradients)


def test_samples_follow_the_probabilities() -> None:
    quantiser = make(sharpness=0.3)
    x = frames(1).expand(20_000, -1)
    torch.manual_seed(0)
    found = quantiser(x, 0.5)
    shares = torch.bincount(found.units, minlength=K) / len(x)
    p = found.log_probabilities[0].detach().exp()
    assert float(p.max()) < 0.95, "else nothing is compared"
    assert bool(((shares - p).abs() < 4 * (p * (1 - p) / len(x)).sqrt() + 1e-9).all())


@pytest.mark.parametrize("hard", [True, False])
def test_the_limit_is_kmeans(hard: bool) -> None:
    """Outside training, and in training as the probabilities get sharp and the temperature small."""
    x = frames()
    quantiser = make(hard, moved=False)
    nearest = torch.from_numpy(CpuAssigner(start().values)([x.numpy().astype(np.float32)])[0]).long()
    found = quantiser.eval()(x)
    assert torch.equal(found.units, nearest) and found.weights is None
    sharp = make(hard, sharpness=1e6, moved=False)(x, 1e-3)
    assert torch.equal(sharp.units, nearest)
    torch.testing.assert_close(sharp.weights.detach(), torch.nn.functional.one_hot(nearest, K).double())


def test_collapse_is_measured() -> None:
    even = torch.full((N, K), -math.log(K), dtype=torch.float64)
    one = torch.log_softmax(torch.tensor([[1000.0, 0, 0, 0, 0]]).double().expand(N, -1), dim=1)
    assert float(collapse_loss(even)) == pytest.approx(0, abs=1e-12) and float(collapse_loss(one)) == pytest.approx(1)
    confident = torch.log_softmax(1000 * torch.eye(K).double().repeat(N, 1), dim=1)
    assert float(collapse_loss(confident)) == pytest.approx(0, abs=1e-12)  # sure of each frame, but of all units
    quantiser = make(sharpness=0.1)
    step = torch.optim.SGD(quantiser.parameters(), lr=0.5)
    losses = []
    for _ in range(20):
        loss = collapse_loss(quantiser.log_probabilities(frames()))
        step.zero_grad()
        loss.backward()
        step.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_usage_and_drift() -> None:
    quantiser, usage = make(moved=False), UnitUsage(K)
    assert usage.figures(quantiser) == {"units_used": 0, "unit_agreement": 1, "unit_perplexity": 1, "centroid_drift": 0}
    usage.add(torch.tensor([0, 0, 1, 1]), torch.eye(K)[[0, 0, 1, 2]].log())
    assert usage.figures(quantiser)["unit_agreement"] == 0.75
    assert usage.figures(quantiser)["units_used"] == 2
    assert usage.figures(quantiser)["unit_perplexity"] == pytest.approx(2)
    for _ in range(MEMORY_UPDATES):
        usage.add(torch.tensor([3]), torch.eye(K)[[3]].log())
    assert usage.figures(quantiser)["units_used"] == 1
    with torch.no_grad():
        quantiser.shift.fill_(0.5)
    moved = float(quantiser.unit_of_length) * 0.5 * D**0.5 / quantiser.squared_spacing**0.5
    assert usage.figures(quantiser)["centroid_drift"] == pytest.approx(moved)


def test_temperatures_fall() -> None:
    schedule = TemperatureSchedule.parse("2,0.5,0.5")
    assert [schedule.at(u) for u in range(4)] == [2, 1, 0.5, 0.5]


@pytest.mark.parametrize("text", ["", "1,2", "1,2,0.5", "1,0,0.5", "2,1,0", "2,1,1.5", "nan,1,0.5", "a,b,c"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--unit-temperature"):
        TemperatureSchedule.parse(text)


def test_other_frames_and_useless_centroids_are_refused() -> None:
    with pytest.raises(KMeansError, match=r"km\.npz: frames of 4 dimensions for centroids of 3"):
        make()(torch.zeros(2, 4))
    for values, problem in ((np.zeros((1, D)), "one centroid"), (np.ones((3, D)), "equals another")):
        with pytest.raises(KMeansError, match=problem):
            DifferentiableKMeans(Centroids(values.astype(np.float32), "km.npz"))
