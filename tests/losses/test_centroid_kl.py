"""The `centroid` KL: its targets, its closed form, and the criterion that uses it."""

import dataclasses
import logging
from pathlib import Path
from typing import Optional, Tuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference
from support.criteria import K, gradients, make_model, make_sample, make_task, options_of
from support.losses import (
    OFFSET,
    PAD,
    SEPARATOR,
    LossOptions,
    batches,
    closed_form,
    fused_form,
    hidden_and_weight,
    objectives,
    plain_form,
    random_batch,
    selected,
)
from support.miniature import make_provenance
from torch import Tensor

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.kmeans_file import Centroids, KMeansError
from sld_user_dir.criterions.loss_options import SldCriterionConfig
from sld_user_dir.criterions.sld_criterion import SldCriterion
from sld_user_dir.errors import InputError
from sld_user_dir.losses.terms.centroid_kl import CentroidKL, SoftTargets, soft_targets

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")

Batch = Tuple[Tensor, Tensor]


def centroids(k: int = K, dim: int = 3) -> Centroids:
    return Centroids(np.random.default_rng(0).normal(size=(k, dim)).astype(np.float32), "kmeans.npz")


def dense(k: int, neighbours: int, width: float = 0.5) -> Tensor:
    """(K, K): the oracle's targets."""
    values = torch.from_numpy(centroids(k).values).double()
    return torch.stack([reference.centroid_target(y, values, neighbours, width) for y in range(k)])


def oracle(logits: Tensor, batch: Batch, objective: LossOptions, neighbours: int) -> Tensor:
    targets = dense(logits.size(-1) - OFFSET, neighbours)
    options = dataclasses.asdict(objective)
    return reference.loss(logits, *batch, PAD, SEPARATOR, OFFSET, targets=targets, **options)[0]


def ours(
    hidden: Tensor,
    weight: Tensor,
    batch: Batch,
    objective: LossOptions,
    neighbours: int,
    form: str,
    chunk_size: Optional[int] = None,
) -> Tensor:
    soft = soft_targets(centroids(weight.size(0) - OFFSET), neighbours, 0.5)
    if form == "plain":
        return plain_form(hidden, weight, *batch, objective, soft)[0]
    return fused_form(hidden, weight, *batch, objective, chunk_size, soft)[0]


# ----------------------------------------------------------------------------------- targets


@pytest.mark.parametrize("neighbours", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("width", [0.2, 0.5, 3.0])
def test_targets_are_the_definition(neighbours: int, width: float) -> None:
    soft = soft_targets(centroids(), neighbours, width)
    assert soft.units.shape == soft.weights.shape == (K, min(neighbours, K))
    assert torch.equal(soft.units[:, 0], torch.arange(K))
    ours = torch.zeros(K, K, dtype=torch.float64).scatter_(1, soft.units, soft.weights)
    torch.testing.assert_close(ours, dense(K, neighbours, width), rtol=1e-12, atol=1e-12)


def test_targets_are_logged_with_their_sharpness(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        soft = soft_targets(centroids(), 3, 0.5)
    own = soft.weights[:, 0].mean().item()
    entropy = torch.special.entr(soft.weights).sum(1).mean().item() / np.log(2)
    assert f"{own:.3f} on the unit itself, entropy {entropy:.3f} bits" in caplog.text


def test_targets_that_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="--kl-neighbours"):
        soft_targets(centroids(), 0, 0.5)
    with pytest.raises(ValueError, match="--kl-centroid-width"):
        soft_targets(centroids(), 3, 0.0)
    same = Centroids(np.ones((3, 2), dtype=np.float32), "same.npz")
    with pytest.raises(ValueError, match=r"same\.npz: each centroid equals another"):
        soft_targets(same, 3, 0.5)


# -------------------------------------------------------------------------------- closed form


@settings(max_examples=40, deadline=None)
@given(
    objective=objectives,
    batch=batches,
    neighbours=st.integers(1, K),
    form=st.sampled_from([("plain", None), ("fused", 1), ("fused", 3), ("fused", None)]),
)
def test_loss_is_the_definition(
    objective: LossOptions, batch: Batch, neighbours: int, form: Tuple[str, Optional[int]]
) -> None:
    objective = dataclasses.replace(objective, kl_variant="centroid")
    inputs = hidden_and_weight(batch[0], k=K)
    expected = oracle(inputs[0] @ inputs[1].t(), batch, objective, neighbours)
    wanted = torch.autograd.grad(expected, inputs)
    value = ours(*inputs, batch, objective, neighbours, *form)
    found = torch.autograd.grad(value, inputs)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("form", ["plain", "fused"])
@pytest.mark.parametrize("ids", [PAD, 5, OFFSET + 1])
def test_degenerate_batches(form: str, ids: int) -> None:
    """All padding, no speech, no text."""
    batch = (torch.full((2, 3), OFFSET), torch.full((2, 3), ids))
    objective = LossOptions(kl_variant="centroid", kl_weight=1.0)
    inputs = hidden_and_weight(batch[0], k=K)
    value = ours(*inputs, batch, objective, 3, form)
    expected = oracle(inputs[0] @ inputs[1].t(), batch, objective, 3)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(value, inputs))


@pytest.mark.parametrize("form", ["plain", "fused"])
def test_a_single_unit(form: str) -> None:
    batch, objective = random_batch(6, 2, 6, 1), LossOptions(kl_variant="centroid", kl_weight=1.0)
    inputs = hidden_and_weight(batch[0], k=1)
    expected = oracle(inputs[0] @ inputs[1].t(), batch, objective, 3)
    torch.testing.assert_close(ours(*inputs, batch, objective, 3, form), expected, rtol=1e-9, atol=1e-9)


def test_one_neighbour_is_the_paper_target_without_smoothing() -> None:
    batch = random_batch(3, 3, 7, K)
    inputs = hidden_and_weight(batch[0], k=K)
    value = ours(*inputs, batch, LossOptions(kl_variant="centroid", kl_weight=1.0), 1, "fused")
    expected = fused_form(*inputs, *batch, LossOptions(kl_weight=1.0, smoothing=0.0))[0]
    torch.testing.assert_close(value, expected)


def test_a_model_that_says_the_target_has_no_divergence() -> None:
    """KL(q || q) = 0, also where q is 0 on most units."""
    objective = LossOptions(0.0, 0.0, 1.0, kl_variant="centroid")
    soft = soft_targets(centroids(), K, 0.5)
    target = torch.arange(OFFSET, OFFSET + K)[None]
    logits = torch.zeros(1, K, OFFSET + K, dtype=torch.float64)
    logits[0, :, OFFSET:].scatter_(1, soft.units, soft.weights.log())
    value = closed_form(logits, target, target, objective, soft)
    assert value.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    batch, objective = random_batch(8, 3, 7, K), LossOptions(kl_variant="centroid", kl_weight=1.0)
    halves = hidden_and_weight(batch[0], k=K, dtype=dtype)
    found = torch.autograd.grad(ours(*halves, batch, objective, 3, "fused") * 128, halves)
    wide = [tensor.detach().double().requires_grad_() for tensor in halves]
    wanted = torch.autograd.grad(ours(*wide, batch, objective, 3, "plain") * 128, wide)
    for gradient, exact in zip(found, wanted):
        assert (gradient.double() - exact).norm() / exact.norm() < {torch.float16: 0.01, torch.bfloat16: 0.06}[dtype]


def test_targets_take_no_memory_by_units() -> None:
    """(K, n) and (tokens, n), never (tokens, K)."""
    soft = soft_targets(centroids(200), 7, 0.5)
    src, target = random_batch(3, 2, 9, 200)
    at, _ = selected(src, target, 200, LossOptions(kl_variant="centroid").objective(soft))
    assert at.sparse_ids is not None and at.sparse_masses is not None
    assert at.sparse_ids.shape == at.sparse_masses.shape == (len(at), 7)
    assert isinstance(soft, SoftTargets) and soft.units.shape == (200, 7)


# ---------------------------------------------------------------------------------- criterion


def criterion(path: Optional[Path], task: Optional[object] = None, **options: object) -> SldCriterion:
    config = SldCriterionConfig(
        kl_variant="centroid",
        kl_centroids=None if path is None else str(path),
        kl_weight=0.7,
        kl_neighbours=3,
        **options,
    )
    return SldCriterion.build_criterion(config, task or make_task())


@pytest.fixture
def kmeans(tmp_path: Path) -> Path:
    KMeans(centroids().values).save(tmp_path / "kmeans.npz")
    return tmp_path / "kmeans.npz"


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize("denominator", ["sentence", "token"])
def test_loss_of_a_model(kmeans: Path, form: str, denominator: str) -> None:
    model, sample = make_model().double(), make_sample(3)
    ours = criterion(kmeans, loss_form=form, kl_denominator=denominator, kl_temperature=2.0)
    loss, sample_size, logs = ours(model, sample)
    loss.backward()
    found = gradients(model)
    model.zero_grad()
    logits, _ = model(**sample["net_input"])
    batch = (sample["net_input"]["src_tokens"], sample["target"])
    options = {"kl_variant": "centroid", "kl_weight": 0.7, "kl_denominator": denominator, "kl_temperature": 2.0}
    expected = oracle(logits, batch, options_of(**options), 3)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found, gradients(model), rtol=0, atol=1e-9)
    assert sample_size == 1 and logs["bits:kl:total"] > 0


def centroid_term(criterion: SldCriterion) -> CentroidKL:
    return next(term for term in criterion.objective.terms if isinstance(term, CentroidKL))


def test_fp16_keeps_the_targets(kmeans: Path) -> None:
    """fairseq halves a criterion with --fp16, and saves what state it has."""
    ours = criterion(kmeans).half()
    assert centroid_term(ours).table.targets.weights.dtype == torch.float64
    assert not ours.state_dict()


def test_centroids_of_other_units_are_refused(kmeans: Path) -> None:
    """The manifests are loaded after the criterion is built."""
    task, (model, sample) = make_task(provenance={}), (make_model(), make_sample(3))
    ours = criterion(kmeans, task)
    task.provenance["train.tsv"] = make_provenance(num_units=K)
    with pytest.raises(KMeansError, match=r"train\.tsv are of sha256:0"):
        ours(model, sample)
    own = Centroids.load(kmeans).sha256
    task.provenance["train.tsv"] = make_provenance(num_units=K, kmeans=own)
    assert ours(model, sample)[0].isfinite()


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give --kl-centroids"):
        criterion(None)
    KMeans(centroids(K + 1).values).save(tmp_path / "other.npz")
    with pytest.raises(InputError, match="6 centroids, but the vocabulary has 5 units"):
        criterion(tmp_path / "other.npz")
