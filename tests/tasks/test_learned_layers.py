"""Weights of an encoder's layers that are learnt with the model: batches, start, export and refusals."""

from pathlib import Path
from typing import Any, Dict, Tuple

import pytest
import torch
from support import learned_units
from support.encoders import save_transformers
from support.learned_units import Parts, noise_corpus
from support.tasks import setup

from sld_user_dir.clustering.kmeans_file import Centroids
from sld_user_dir.commands import main as sld
from sld_user_dir.errors import InputError
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.manifests.unit_manifest import read_manifest

# fairseq's own, in every step of training
pytestmark = pytest.mark.filterwarnings("ignore:`torch.cuda.amp.autocast:FutureWarning")
LAYERS = (1, 2, 3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: Any) -> Path:
    """Units of the sum of three layers, by unequal weights, of a random encoder."""
    root = tmp_path_factory.mktemp("layers")
    save_transformers(root / "encoder")
    features = FeatureConfig(str(root / "encoder"), layers="1,2,3", layer_weights="2,1,1", normalise="utterance")
    return noise_corpus(root, features=features)


def prepare(corpus: Path, *options: Any) -> Parts:
    """Task, model, criterion and a training batch."""
    return learned_units.prepare(corpus, "--learn-units", corpus / "kmeans.npz", "--dropout", "0", *options)


def train_step(parts: Parts) -> Dict[str, Any]:
    task, model, criterion, batch = parts
    model.zero_grad()
    log: Dict[str, Any] = task.train_step(batch, model, criterion, learned_units.Backward(), 0)[2]
    return log


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: Any) -> Tuple[Parts, Path]:
    """After a large step, and its checkpoint."""
    parts = prepare(corpus)
    log = train_step(parts)
    assert [log[f"share:layer_weight_{layer}:total"] for layer in LAYERS] == pytest.approx([0.5, 0.25, 0.25])
    torch.optim.Adam(parts[1].parameters(), lr=0.3).step()
    path = tmp_path_factory.mktemp("trained") / "checkpoint.pt"
    stored = {"model": parts[1].state_dict(), "task_state": parts[0].state_dict(), "cfg": {"task": {}}}
    torch.save(stored, path)
    return parts, path


def test_without_training_units_are_those_of_the_weighted_sum(corpus: Path) -> None:
    task, model, _, batch = prepare(corpus)
    assert batch["frames"].shape[1:] == (len(LAYERS), 32)
    found = task.learned_units.quantise(batch, model.eval())
    assert torch.equal(found["net_input"]["src_tokens"], batch["net_input"]["src_tokens"])
    fixed_task, fixed, _, fixed_batch = prepare(corpus, "--unit-layer-weights", "fixed")
    assert fixed_batch["frames"].shape[1:] == (32,) and fixed.quantiser.layer_weights is None
    found = fixed_task.learned_units.quantise(fixed_batch, fixed.eval())
    assert torch.equal(found["net_input"]["src_tokens"], fixed_batch["net_input"]["src_tokens"])


def test_the_loss_trains_the_weights(trained: Tuple[Parts, Path]) -> None:
    weights = trained[0][1].quantiser.layer_weights.values.detach()
    assert (
        float(weights.sum()) == pytest.approx(1)
        and float((weights - torch.tensor([0.5, 0.25, 0.25])).abs().max()) > 0.05
    )


def test_exported_units_are_those_of_the_models_validation(
    corpus: Path, trained: Tuple[Parts, Path], tmp_path: Path
) -> None:
    (task, model, _, _), checkpoint = trained
    out, plain, units = tmp_path / "learnt.npz", tmp_path / "plain.pt", tmp_path / "valid.tsv"
    files = ["--checkpoint", str(checkpoint), "--out", str(out), "--plain-checkpoint", str(plain)]
    assert sld(["export-kmeans", *files]) == 0
    assert sld(["units", "--audio", str(corpus / "valid.audio.tsv"), "--kmeans", str(out), "--out", str(units)]) == 0
    manifest, before = read_manifest(units), read_manifest(corpus / "valid.tsv")
    learnt = Centroids.load(out).metadata
    weights = model.quantiser.layer_weights.values.tolist()
    assert [float(one) for one in learnt["features"]["layer_weights"].split(",")] == pytest.approx(weights, rel=1e-6)
    state = torch.load(plain, weights_only=True)
    assert not any(name.startswith("quantiser.") for name in state["model"])
    made_by = state["task_state"]["unit_provenance"]
    assert made_by["encoder"] == manifest.provenance.encoder == learnt["encoder"] != before.provenance.encoder
    assert made_by["kmeans"] == manifest.provenance.kmeans
    task.load_dataset("valid")
    for i in range(len(manifest)):
        item = task.datasets["valid"][i]
        row = slice(manifest.offsets[item["id"]], manifest.offsets[item["id"] + 1])
        assert model.quantiser.eval()(item["frames"]).units.tolist() == manifest.units[row].tolist()
    assert manifest.units.tolist() != before.units.tolist(), "else nothing was learnt"


def test_what_does_not_go_on_is_refused(corpus: Path, trained: Tuple[Parts, Path], tmp_path: Path) -> None:
    state = trained[0][0].state_dict()
    _, task = setup(corpus, "--learn-units", corpus / "kmeans.npz", "--unit-layer-weights", "fixed")
    with pytest.raises(InputError, match="--unit-layer-weights fixed: the checkpoint's weights of layers are learnt"):
        task.load_state_dict(state)
    with pytest.raises(InputError, match="the checkpoint's weights of layers are fixed"):
        trained[0][0].load_state_dict(task.state_dict())
    start = Centroids.load(corpus / "kmeans.npz")
    features = {**start.metadata["features"], "layer_weights": "1,0,1"}
    Centroids.save(tmp_path / "zero.npz", start.values, {**start.metadata, "features": features})
    with pytest.raises(InputError, match="a layer of weight 0"):
        setup(corpus, "--learn-units", tmp_path / "zero.npz")
    setup(corpus, "--learn-units", tmp_path / "zero.npz", "--unit-layer-weights", "fixed")
