"""Units that are learnt with the model: batches of frames, ordinary training as the limit, export and refusals."""

import copy
import math
from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np
import pytest
import torch
from support import learned_units
from support.learned_units import LEARNED_K, RATE, Parts, noise_corpus
from support.miniature import fairseq_command, train
from support.tasks import setup

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.kmeans_file import Centroids
from sld_user_dir.commands import main as sld
from sld_user_dir.compatibility import ConflictError
from sld_user_dir.errors import InputError
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.losses.terms.assignment_kl import AssignmentKL
from sld_user_dir.manifests.audio_manifest import read_audio_manifest, write_audio_manifest
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.models.unit_mixture import UnitMixture
from sld_user_dir.pipeline.recording_frames import MIB, RecordingFrames
from sld_user_dir.quantisation.learned_centroids import export_centroids

# fairseq's own, in every step of training
pytestmark = pytest.mark.filterwarnings("ignore:`torch.cuda.amp.autocast:FutureWarning")
STILL = ("--dropout", "0", "--attention-dropout", "0")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: Any) -> Path:
    return noise_corpus(tmp_path_factory.mktemp("noises"))


def prepare(corpus: Path, *options: Any, learn: bool = True) -> Parts:
    """Task, model, criterion and a training batch."""
    extra = ("--learn-units", corpus / "kmeans.npz") if learn else ()
    return learned_units.prepare(corpus, *STILL, *extra, *options)


def step(parts: Parts, update: int = 0, seed: int = 5) -> Tuple[Any, Dict[str, Any]]:
    task, model, criterion, batch = parts
    model.zero_grad()
    torch.manual_seed(seed)
    loss, _, log = task.train_step(batch, model, criterion, learned_units.Backward(), update)
    return loss.detach(), log


def test_without_training_units_and_losses_are_those_of_kmeans(corpus: Path) -> None:
    task, model, criterion, batch = prepare(corpus)
    plain_task, plain_model, plain_criterion, plain_batch = prepare(corpus, learn=False)
    plain_model.load_state_dict({k: v for k, v in model.state_dict().items() if k.startswith("decoder.")})
    found = task.learned_units.quantise(batch, model.eval())
    for name in ("target", "segments"):
        assert torch.equal(found[name], plain_batch[name])
    assert torch.equal(found["net_input"]["src_tokens"], plain_batch["net_input"]["src_tokens"])
    assert "unit_mixture" not in found["net_input"]
    mine = task.valid_step(batch, model, criterion)[0]
    assert torch.equal(mine, plain_task.valid_step(plain_batch, plain_model, plain_criterion)[0])


@pytest.mark.parametrize("packed", [False, True])
def test_in_the_limit_training_is_that_of_kmeans(corpus: Path, packed: bool) -> None:
    """Sharp probabilities and a low temperature: the loss and the gradients of the model are those without."""
    limit = ("--unit-sharpness", "1e5", "--unit-temperature", "1e-3,1e-3,1", "--unit-collapse-weight", "0")
    pack = ("--pack-utterances",) if packed else ()
    for form in ("hard", "soft"):
        learned = prepare(corpus, *limit, *pack, "--unit-form", form)
        plain = prepare(corpus, *pack, learn=False)
        plain[1].load_state_dict({k: v for k, v in learned[1].state_dict().items() if k.startswith("decoder.")})
        torch.testing.assert_close(step(learned)[0], step(plain)[0], rtol=1e-5, atol=1e-5)
        for (name, one), other in zip(plain[1].decoder.named_parameters(), learned[1].decoder.parameters()):
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("criterion", ["sld", "masked_ce"])
@pytest.mark.parametrize("form", ["hard", "soft"])
def test_the_loss_trains_the_centroids(corpus: Path, criterion: str, form: str) -> None:
    parts = prepare(corpus, "--criterion", criterion, "--unit-form", form, "--unit-collapse-weight", "0")
    _, log = step(parts)
    gradient = parts[1].quantiser.shift.grad
    assert bool(gradient.isfinite().all()) and float(gradient.abs().sum()) > 0
    assert 1 < log["share:units_used:total"] <= LEARNED_K and log["share:unit_temperature:total"] == 2.0
    before = parts[1].quantiser.centroids.detach().clone()
    torch.optim.SGD(parts[1].parameters(), lr=1.0).step()
    assert not torch.equal(parts[1].quantiser.centroids, before)
    assert step(parts, update=10_000)[1]["share:centroid_drift:total"] > 0


def test_packed_batches_have_the_same_loss(corpus: Path) -> None:
    plain, packed = prepare(corpus), prepare(corpus, "--pack-utterances")
    padded = copy.copy(plain[3])
    order = padded["id"].tolist()
    data = packed[0].datasets["train"]
    at = {data[i]["id"]: i for i in range(len(data))}
    batch = data.collater([data[at[one]] for one in order])
    torch.testing.assert_close(step((*packed[:3], batch))[0], step(plain)[0], rtol=1e-5, atol=1e-5)


def test_hidden_units_and_text_keep_their_embeddings() -> None:
    table, offset = torch.randn(9, 4), 5
    tokens = torch.tensor([[5, 3, 8, 1, 2, 0]])  # a unit, a hidden one, a unit, text
    mixture = UnitMixture(
        torch.tensor([[0.5, 0.5, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1.0]]), torch.tensor([[0, 1, 2, -1, -1, -1]])
    )
    x = table[tokens]
    expected = x.clone()
    expected[0, 0] = 0.5 * table[offset] + 0.5 * table[offset + 1]
    torch.testing.assert_close(mixture.embed(x, tokens, table), expected)


def slow_kl(log_p: torch.Tensor, z: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Of one position: log_p (K,) of its frame, z (K,) logits of units."""
    kept = sorted(range(len(log_p)), key=lambda k: -float(log_p[k].detach()))[:neighbours]
    total = sum(log_p[k].exp() for k in kept)
    log_q = torch.log_softmax(z, dim=0)
    masses = [log_p[k].exp() / total for k in kept]
    return sum(q * (q.log() - log_q[k]) for q, k in zip(masses, kept))


@pytest.mark.parametrize("through", [False, True])
def test_soft_targets_are_those_of_the_frames(corpus: Path, through: bool) -> None:
    """The KL, and that its gradient goes through the target where it is asked for, and else does not."""
    options = ["--kl-variant", "assignment", "--kl-weight", "1", "--speech-weight", "0", "--text-weight", "0"]
    options += ["--kl-neighbours", "3", "--unit-collapse-weight", "0", *(["--kl-target-gradient"] if through else [])]
    parts = prepare(corpus, *options)
    task, model, _, batch = parts
    loss, _ = step(parts)
    mine = model.quantiser.shift.grad.clone()
    model.zero_grad()
    torch.manual_seed(5)
    sample = task.learned_units.quantise(batch, model.train())
    logits = model(**sample["net_input"])[0]
    posteriors, total = sample["frame_posteriors"], 0
    log_p = posteriors.log_probabilities if through else posteriors.log_probabilities.detach()
    for row, t in (sample["target"] >= task.vocab.unit_offset).nonzero().tolist():
        total = total + slow_kl(log_p[posteriors.frame[row, t]], logits[row, t, task.vocab.unit_offset :], 3)
    expected = total / len(batch["target"])
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mine, model.quantiser.shift.grad, rtol=1e-3, atol=1e-6)


def test_what_does_not_go_together_is_refused(corpus: Path, tmp_path: Path, mini: Path) -> None:
    kmeans = corpus / "kmeans.npz"
    with pytest.raises(InputError, match="raise --max-tokens, take fewer units, or choose --unit-form soft"):
        task = prepare(corpus, "--unit-form", "hard")[0]
        task.learned_units.check_batches(task.datasets["train"], 10_000)
    task.learned_units.check_batches(task.datasets["train"], 1)
    prepare(corpus, "--unit-form", "soft")[0].learned_units.check_batches(task.datasets["train"], 10_000)
    with pytest.raises(ConflictError, match="augmentation of units"):
        setup(corpus, "--learn-units", kmeans, "--dedup-prob", "0.5")
    with pytest.raises(InputError, match=f"{LEARNED_K} centroids for 12 units"):
        setup(mini, "--learn-units", kmeans)
    for options in (("--unit-sharpness", "0"), ("--unit-collapse-weight", "-1"), ("--unit-temperature", "1")):
        with pytest.raises(InputError, match=options[0]):
            setup(corpus, "--learn-units", kmeans, *options)
    with pytest.raises(InputError, match="choose a joint_lm architecture"):
        prepare(corpus, "--quant-noise-pq", "0.1", "--quant-noise-pq-block-size", "2")
    with pytest.raises(InputError, match="--kl-variant assignment: its targets need frames; add --learn-units"):
        step(prepare(corpus, "--kl-variant", "assignment", learn=False))
    with pytest.raises(InputError, match="--kl-target-gradient"):
        step(prepare(corpus, "--kl-variant", "assignment", "--kl-target-gradient", "--loss-form", "fused"))
    with pytest.raises(InputError, match="export it by sld export-kmeans --checkpoint"):
        prepare(corpus, learn=False)[0].load_state_dict(task.state_dict())
    with pytest.raises(InputError, match="export it by sld export-kmeans --checkpoint"):
        task.build_dataset_for_inference([torch.tensor([task.vocab.unit_offset])], [1])
    with pytest.raises(InputError, match="choose a joint_lm architecture"):
        task.learned_units.add_to(torch.nn.Module())
    with pytest.raises(ValueError, match="a target lies on one unit"):
        AssignmentKL(neighbours=0)


def test_other_features_and_recordings_are_refused(corpus: Path, tmp_path: Path) -> None:
    start = Centroids.load(corpus / "kmeans.npz")
    other = FeatureConfig("mfcc", RATE, normalise="none", stack=4)
    about = {"features": other.to_dict(), "encoder": build_front_end(other, "cpu").encoder}
    Centroids.save(tmp_path / "other.npz", start.values, about)
    Centroids.save(tmp_path / "narrow.npz", start.values[:, :-1].copy(), start.metadata)
    for name, problem in (("other", "but --learn-units starts from .*mfcc"), ("narrow", "155 dimensions")):
        _, task = setup(corpus, "--learn-units", tmp_path / f"{name}.npz")
        with pytest.raises(InputError, match=problem):
            task.load_dataset("train")
    recordings = read_audio_manifest(corpus / "train.audio.tsv")
    write_audio_manifest(tmp_path / "train.audio.tsv", recordings[1:], corpus)
    _, task = setup(corpus, "--learn-units", corpus / "kmeans.npz", "--unit-audio", tmp_path)
    with pytest.raises(InputError, match="no recording for train0"):
        task.load_dataset("train")
    swapped = [*recordings[:-1], recordings[0].__class__(recordings[-1].id, recordings[0].path)]
    write_audio_manifest(tmp_path / "train.audio.tsv", swapped, corpus)
    task.load_dataset("train")
    with pytest.raises(InputError, match=r"\d+ units, but its recording .* has \d+ frames"):
        [task.datasets["train"][i] for i in range(len(recordings))]


def test_the_cache_is_bounded(corpus: Path) -> None:
    recordings = read_audio_manifest(corpus / "train.audio.tsv")
    front_end = build_front_end(FeatureConfig("mfcc", RATE, normalise="utterance", stack=4), "cpu")
    free = RecordingFrames(recordings, front_end)
    total = sum(frames.nbytes for frames in free)
    for room in (0, total // 2, total):
        source = RecordingFrames(recordings, front_end, room / MIB)
        for _ in range(2):
            for i in range(len(source)):
                assert np.array_equal(source[i], free[i])
                assert source.cached_bytes <= room
        assert (source.computed == len(source)) == (room == total)


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: Any) -> Path:
    save = tmp_path_factory.mktemp("save")
    options = ["--learn-units", corpus / "kmeans.npz", "--lr", "0.05", "--eval-wer", "--unit-sharpness", "0.3"]
    lines = train(corpus, save, *options, updates=6)
    assert any('"units_used"' in line and '"centroid_drift"' in line for line in lines)
    return save / "checkpoint_last.pt"


@pytest.mark.slow
def test_trained_units_are_exported_extracted_and_decoded(corpus: Path, trained: Path, tmp_path: Path) -> None:
    out, plain = tmp_path / "learned.npz", tmp_path / "plain.pt"
    assert (
        sld(["export-kmeans", "--checkpoint", str(trained), "--out", str(out), "--plain-checkpoint", str(plain)]) == 0
    )
    learned, start = KMeans.load(out), KMeans.load(corpus / "kmeans.npz")
    assert learned.sha256 != start.sha256 and learned.metadata["features"] == start.metadata["features"]
    data = tmp_path / "data"
    data.mkdir()
    for name in ("dict.txt", "vocab.json"):
        (data / name).write_bytes((corpus / name).read_bytes())
    audio = ["--audio", str(corpus / "test.audio.tsv")]
    assert sld(["units", *audio, "--kmeans", str(out), "--out", str(data / "test.tsv")]) == 0
    manifest = read_manifest(data / "test.tsv")
    assert manifest.provenance.kmeans == learned.sha256
    # what the model itself would have made of them
    state = torch.load(trained, weights_only=True)
    task, model, _, _ = prepare(
        corpus, "--decoder-layers", "2", "--decoder-embed-dim", "32", "--decoder-ffn-embed-dim", "64"
    )
    model.load_state_dict(state["model"])
    task.load_dataset("test")
    for i in range(len(manifest)):
        item = task.datasets["test"][i]
        units = model.quantiser.eval()(item["frames"]).units
        assert (
            units.tolist() == manifest.units[manifest.offsets[item["id"]] : manifest.offsets[item["id"] + 1]].tolist()
        )
    arguments = ("--path", plain, "--gen-subset", "test", "--max-len-b", "5")
    assert fairseq_command("generate", data, *arguments).stdout.count("\nH-") == len(manifest)
    refused = fairseq_command("generate", corpus, *arguments, check=False)
    assert refused.returncode and "extract these units again" in refused.stderr + refused.stdout


@pytest.mark.slow
def test_a_training_goes_on(corpus: Path, trained: Path) -> None:
    options = ["--learn-units", corpus / "kmeans.npz", "--lr", "0.05"]
    lines = train(corpus, trained.parent, *options, updates=8)
    assert any("Loaded checkpoint" in line for line in lines)


def test_what_has_no_learned_units_is_not_exported(tmp_path: Path) -> None:
    torch.save({"model": {}, "task_state": {}}, tmp_path / "plain.pt")
    with pytest.raises(InputError, match="not learnt with it"):
        export_centroids(tmp_path / "plain.pt", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists() and math.isfinite(MIB)
