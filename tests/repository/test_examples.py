"""examples/plain_torch.py: the package's data and losses without fairseq, on a few strings of digits."""

import importlib.util
import subprocess
import sys

import pytest
import torch
from support.miniature import ROOT, make_data

from sld_user_dir.losses.objective import plain_loss
from sld_user_dir.losses.positions import Layout, positions_of
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.sequences.dataset import SequenceDataset
from sld_user_dir.sequences.manifest_dataset import dataset_from_manifest
from sld_user_dir.vocabulary.joint import JointVocabulary

SOURCE = ROOT / "examples" / "plain_torch.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("plain_torch", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_trains_and_transcribes_without_fairseq(tmp_path):
    make_data(tmp_path / "data", train=30, valid=7, test=5)
    code = (
        f"import runpy, sys; sys.argv = ['plain_torch.py', '--data', {str(tmp_path / 'data')!r}, '--updates', '3']; "
        f"runpy.run_path({str(SOURCE)!r}, run_name='__main__'); assert 'fairseq' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "update 3: text" in done.stdout and "valid: text" in done.stdout and done.stdout.count("heard as") == 5


def test_its_loss_is_that_of_full_logits(example, tmp_path):
    data = make_data(tmp_path / "data", train=30, valid=7, test=5)
    vocab = JointVocabulary.load(data)
    torch.manual_seed(0)
    model = example.build_model(vocab)
    dataset = dataset_from_manifest(read_manifest(data / "valid.tsv"), vocab, 512, SequenceDataset)
    batch = next(example.batches(dataset, max_tokens=2000))
    layout = Layout.of(vocab)
    loss, _ = example.loss_of(model, batch, layout)
    everywhere = positions_of(batch, layout)
    at, divisors = example.OBJECTIVE.select(everywhere), example.OBJECTIVE.divisors(everywhere)
    logits = model(batch["net_input"]["src_tokens"]).logits
    expected, _, _ = plain_loss(logits, at, example.OBJECTIVE, divisors)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert len(SOURCE.read_text(encoding="utf-8").split("\n")) < 100
