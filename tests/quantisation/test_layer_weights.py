"""Learnt weights of layers: sums, gradients, the start, and what a k-means file says of them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sld_user_dir.clustering.kmeans_file import Centroids, KMeansError
from sld_user_dir.clustering.layer_metadata import layer_sum_of, with_layer_weights
from sld_user_dir.quantisation.differentiable_kmeans import DifferentiableKMeans
from sld_user_dir.quantisation.layer_weights import LayerWeights
from sld_user_dir.quantisation.unit_usage import UnitUsage, collapse_loss

K, L, D, N = 5, 3, 4, 6
START = (0.5, 0.2, 0.3)


def quantiser(weights: LayerWeights = None, hard: bool = False) -> DifferentiableKMeans:
    values = np.random.default_rng(0).normal(size=(K, D)).astype(np.float32) * 2
    return DifferentiableKMeans(Centroids(values, "km.npz"), 1.0, hard, weights).double()


def states(n: int = N, layers: int = L) -> Tensor:
    return torch.randn(n, layers, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2


def test_gradients_of_the_weights() -> None:
    learnt, x = quantiser(LayerWeights((6, 9, 12), START)), states().requires_grad_()

    def both(x: Tensor, shift: Tensor, moved: Tensor) -> Tensor:
        torch.manual_seed(0)
        parameters = {"layer_weights.shift": shift, "shift": moved}
        found = torch.func.functional_call(learnt, parameters, (x, 0.7))
        return found.weights.sum(0) + collapse_loss(found.log_probabilities)

    shift = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(both, (x, shift, (0.1 * torch.randn(K, D).double()).requires_grad_()))


def test_the_start_is_the_weighted_sum_and_its_weights_are_logged() -> None:
    learnt = quantiser(LayerWeights((6, 9, 12), START)).eval()
    expected = sum(weight * states()[:, at] for at, weight in enumerate(START))
    torch.testing.assert_close(
        learnt.log_probabilities(states()), quantiser().log_probabilities(expected), rtol=1e-6, atol=1e-6
    )
    figures = UnitUsage(K).figures(learnt)
    assert [figures[f"layer_weight_{layer}"] for layer in (6, 9, 12)] == pytest.approx(START)
    assert not any("layer" in name for name in UnitUsage(K).figures(quantiser()))


def test_a_single_layer_is_that_layer_alone() -> None:
    alone = quantiser(LayerWeights((9,), (1.0,)), hard=True)
    with torch.no_grad():
        alone.layer_weights.shift.fill_(3.0)  # one weight is 1, whatever its logit
    x = states(layers=1)
    torch.testing.assert_close(alone.log_probabilities(x), quantiser().log_probabilities(x[:, 0]))


def test_a_weight_of_0_stays_0() -> None:
    weights = LayerWeights((1, 2), (0.0, 1.0))
    weights(torch.randn(3, 2, D)).square().sum().backward()
    assert weights.values.tolist() == [0, 1] and bool(weights.shift.grad.isfinite().all())


def test_a_learnt_weight_pulls_towards_the_layer_that_helps() -> None:
    learnt = quantiser(LayerWeights((1, 2, 3), (1 / 3,) * 3))
    x = states(60)
    target = quantiser().eval()(x[:, 1]).units  # what the second layer alone says
    optimizer = torch.optim.Adam(learnt.layer_weights.parameters(), lr=0.1)
    for _ in range(40):
        loss = -learnt.log_probabilities(x).gather(1, target[:, None]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert learnt.layer_weights.values.argmax() == 1 and float(learnt.layer_weights.values[1].detach()) > 0.6


@pytest.mark.parametrize("frames", [torch.zeros(N, D), torch.zeros(N, L + 1, D)])
def test_frames_of_other_layers_are_refused(frames: Tensor) -> None:
    with pytest.raises(KMeansError, match=r"km\.npz: frames of shape .* for a sum of 3 layers"):
        quantiser(LayerWeights((6, 9, 12), START))(frames)


def test_a_kmeans_file_says_which_weights_it_needs() -> None:
    start = {"features": {"features": "hubert", "layers": "1,2"}}
    name = f"hubert@0:16000Hz+cmvn-utterance{layer_sum_of(start).name}+stack2"
    learnt = torch.softmax(torch.tensor([0.1, 0.7]), 0)
    changed = with_layer_weights({**start, "encoder": name, "other": 1}, learnt.tolist())
    assert torch.equal(torch.tensor(layer_sum_of(changed).weights), learnt) and changed["other"] == 1
    assert changed["encoder"] == f"hubert@0:16000Hz+cmvn-utterance{layer_sum_of(changed).name}+stack2" != name
    again = with_layer_weights(changed, [0.5, 0.5])
    assert again["encoder"] == name
    assert "encoder" not in with_layer_weights(start, [0.2, 0.8])
    assert layer_sum_of({}) is None and layer_sum_of({"features": {"layer": 3}}) is None
