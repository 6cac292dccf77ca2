"""An encoder that is trained with the units: start, learning rate, export and refusals."""

from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from support import learned_units
from support.encoders import save_transformers
from support.learned_units import noise_corpus
from support.miniature import train
from support.tasks import setup

from sld_user_dir.commands import main as sld
from sld_user_dir.errors import InputError
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.quantisation.learned_centroids import export_centroids

# fairseq's own, in every step of training
pytestmark = pytest.mark.filterwarnings("ignore:`torch.cuda.amp.autocast:FutureWarning")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: Any) -> Path:
    root = tmp_path_factory.mktemp("encoder")
    save_transformers(root / "encoder")
    return noise_corpus(root, features=FeatureConfig(str(root / "encoder"), layers="1,2", normalise="utterance"))


class Run:
    """A task, its model and batches, and steps of an optimizer."""

    def __init__(self, corpus: Path, *options: Any):
        kmeans = ("--learn-units", corpus / "kmeans.npz", "--learn-encoder", "--dropout", "0")
        self.task, self.model, self.criterion, self.batch = learned_units.prepare(corpus, *kmeans, *options)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.5)

    def step(self, update: int = 0) -> None:
        self.model.zero_grad()
        torch.manual_seed(5)
        self.task.train_step(self.batch, self.model, self.criterion, learned_units.Backward(), update)
        self.task.optimizer_step(self.optimizer, self.model, update)

    def moved(self, update: int = 0) -> List[torch.Tensor]:
        """How far each trained weight of the encoder goes in a step."""
        trained = [one for one in self.model.unit_encoder.parameters() if one.requires_grad]
        before = [one.detach().clone() for one in trained]
        self.step(update)
        return [one.detach() - old for one, old in zip(trained, before)]


def test_at_the_start_units_are_those_of_the_manifest(corpus: Path) -> None:
    run = Run(corpus)
    assert "frames" not in run.batch and all(one.dim() == 1 for one in run.batch["waves"])
    found = run.task.learned_units.quantise(run.batch, run.model.eval())
    assert torch.equal(found["net_input"]["src_tokens"], run.batch["net_input"]["src_tokens"])


def test_the_loss_trains_the_encoder_at_its_own_rate(corpus: Path) -> None:
    whole, part = (Run(corpus, "--encoder-lr-scale", scale).moved() for scale in ("1", "0.1"))
    assert max(float(one.abs().max()) for one in whole) > 1e-3
    for one, other in zip(whole, part):
        torch.testing.assert_close(0.1 * one, other, atol=1e-6, rtol=1e-3)
    run = Run(corpus, "--encoder-freeze-updates", "3")
    centroids = run.model.quantiser.centroids.detach().clone()
    assert not any(bool(one.any()) for one in run.moved(update=2))
    assert not torch.equal(run.model.quantiser.centroids, centroids)
    assert any(bool(one.any()) for one in run.moved(update=3))


def test_exported_units_are_those_of_the_models_validation(corpus: Path, tmp_path: Path) -> None:
    run = Run(corpus, "--encoder-lr-scale", "1")
    run.step()
    stored = {"model": run.model.state_dict(), "task_state": run.task.state_dict(), "cfg": {"task": {}}}
    torch.save(stored, tmp_path / "checkpoint.pt")
    checkpoint, out, units = (str(tmp_path / name) for name in ("checkpoint.pt", "learnt.npz", "valid.tsv"))
    files = ["--checkpoint", checkpoint, "--out", out, "--plain-checkpoint", str(tmp_path / "plain.pt")]
    with pytest.raises(InputError, match="its encoder was trained, too; name a directory for it by --encoder-out"):
        export_centroids(Path(checkpoint), Path(out))
    assert sld(["export-kmeans", *files, "--encoder-out", str(tmp_path / "encoder")]) == 0
    assert sld(["units", "--audio", str(corpus / "valid.audio.tsv"), "--kmeans", out, "--out", units]) == 0
    manifest, before = read_manifest(units), read_manifest(corpus / "valid.tsv")
    state: Dict[str, Any] = torch.load(tmp_path / "plain.pt", weights_only=True)
    assert not any(name.startswith(("unit_encoder.", "quantiser.")) for name in state["model"])
    made_by = state["task_state"]["unit_provenance"]
    assert made_by["encoder"] == manifest.provenance.encoder != before.provenance.encoder
    run.task.load_dataset("valid")
    run.model.eval()
    for i in range(len(manifest)):
        item = run.task.datasets["valid"][i]
        row = slice(manifest.offsets[item["id"]], manifest.offsets[item["id"] + 1])
        found = run.model.quantiser(run.model.unit_encoder([item["waves"]])).units
        assert found.tolist() == manifest.units[row].tolist()
    assert manifest.units.tolist() != before.units.tolist(), "else nothing was learnt"


def test_what_does_not_go_together_is_refused(corpus: Path, tmp_path: Path) -> None:
    run = Run(corpus)
    with pytest.raises(InputError, match="--learn-encoder: no units are learnt with it"):
        setup(corpus, "--learn-encoder")
    for option in ("--encoder-lr-scale", "--encoder-freeze-updates"):
        with pytest.raises(InputError, match=f"{option} -1"):
            setup(corpus, "--learn-units", corpus / "kmeans.npz", "--learn-encoder", option, "-1")
    _, without = setup(corpus, "--learn-units", corpus / "kmeans.npz")
    with pytest.raises(InputError, match="--learn-encoder: the checkpoint's encoder was trained"):
        without.load_state_dict(run.task.state_dict())
    with pytest.raises(InputError, match="--learn-encoder: the checkpoint's encoder was not trained"):
        run.task.load_state_dict(without.state_dict())
    model = {name: value for name, value in run.model.state_dict().items() if not name.startswith("unit_encoder.")}
    torch.save({"model": model, "task_state": without.state_dict(), "cfg": {"task": {}}}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match="its encoder was not trained; leave --encoder-out out"):
        export_centroids(tmp_path / "checkpoint.pt", tmp_path / "out.npz", save_encoder=lambda about, weights: {})
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.slow
def test_fairseq_trains_and_goes_on(corpus: Path, tmp_path: Path) -> None:
    options = ["--learn-units", corpus / "kmeans.npz", "--learn-encoder", "--encoder-freeze-updates", "2"]
    lines = train(corpus, tmp_path, *options, updates=4)
    assert any('"layer_weight_1"' in line for line in lines)
    assert any("Loaded checkpoint" in line for line in train(corpus, tmp_path, *options, updates=6))
