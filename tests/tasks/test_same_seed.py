"""The same seed gives the same batches, losses, weights and hypotheses on one thread; another seed gives others."""

import pytest
import torch
from support.fairseq_logs import logged
from support.miniature import fairseq_command, train
from support.tasks import setup

EVERYTHING_RANDOM = ["--dropout", 0.2, "--input-mask-prob", 0.3, "--dedup-prob", 0.5, "--unit-substitution-prob", 0.1]
FORMS = {"by length": [], "any length": ["--mixed-lengths"], "packed": ["--pack-utterances", "--mixed-lengths"]}


def epochs(data, seed, *options):
    """What a training reads in two epochs, batch after batch."""
    _, task = setup(data, *options)
    task.load_dataset("train")
    iterator = task.get_batch_iterator(task.dataset("train"), max_tokens=60, max_positions=64, seed=seed)
    for _ in range(2):
        yield from (batch["net_input"]["src_tokens"].tolist() for batch in iterator.next_epoch_itr(shuffle=True))


@pytest.mark.parametrize("form", FORMS)
def test_batches(mini, form):
    first, again, other = (list(epochs(mini, seed, *FORMS[form])) for seed in (1, 1, 2))
    assert first == again != other
    assert first[: len(first) // 2] != first[len(first) // 2 :]  # epochs differ


@pytest.fixture(scope="module")
def trained(mini, tmp_path_factory):
    """Three trainings of seeds 1, 1 and 2: what they logged, and their folders."""
    folders = [tmp_path_factory.mktemp(f"seed{seed}") for seed in (1, 1, 2)]
    options = ["--ctc-weight", 0.3, *EVERYTHING_RANDOM]
    logs = [train(mini, folder, "--seed", seed, *options, updates=3) for seed, folder in zip((1, 1, 2), folders)]
    return [[line["loss"] for line in logged(log, "train_inner")] for log in logs], folders


def test_losses(trained):
    (first, again, other), _ = trained
    assert len(first) == 3 and first == again != other


def test_weights(trained):
    first, again, other = (torch.load(f / "checkpoint_last.pt", weights_only=False)["model"] for f in trained[1])
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


SAMPLED = pytest.param(["--beam", 1, "--sampling", "--sampling-topk", 5], marks=pytest.mark.slow)


@pytest.mark.parametrize("search", [["--beam", 3], SAMPLED])
def test_hypotheses(mini, trained, tmp_path, search):
    checkpoint = trained[1][0] / "checkpoint_last.pt"
    fixed = ["--path", checkpoint, "--gen-subset", "valid", "--max-len-b", 6, "--num-workers", 0, *search]
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        fairseq_command("generate", mini, *fixed, "--seed", seed, "--results-path", tmp_path / name)
    first, again, other = (answers(tmp_path / name / "generate-valid.txt") for name in ("first", "again", "other"))
    assert first and first == again
    assert (first == other) == ("--sampling" not in search)  # a beam search draws nothing


def answers(path):
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line[:2] in ("H-", "P-")]
