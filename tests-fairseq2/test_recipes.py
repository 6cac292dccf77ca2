"""The recipes by fairseq2's command line: train, go on, decode; checkpoints to fairseq and from it; what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.miniature import ROOT, make_data, make_provenance, make_utterances, train

from sld_user_dir import hub
from sld_user_dir.errors import InputError
from sld_user_dir.fairseq2 import __main__ as training
from sld_user_dir.fairseq2 import decode, extension, supported_release
from sld_user_dir.fairseq2.to_fairseq import export
from sld_user_dir.manifests.unit_manifest import read_manifest, write_manifest
from sld_user_dir.scoring.hypotheses import read_generate

SIZES = ["num_layers=2", "model_dim=32", "ffn_inner_dim=64", "dropout_p=0.0", "attn_dropout_p=0.0", "max_seq_len=64"]
MODEL = [f"model.config_overrides.{size}" for size in SIZES]
REGIME = ["publish_metrics_every_n_steps=1", "validate_every_n_steps=4", "checkpoint_every_n_steps=4"]
FAST = [f"regime.{one}" for one in REGIME] + [
    "dataset.max_num_tokens=200",
    "dataset.dedup_prob=0.5",
    "common.no_sweep_dir=true",
]


def of(data: Path) -> list:
    return [f"dataset.config_overrides.data={data}", f"tokenizer.path={data}"]


def run(program, out, *settings):
    arguments = ["program", str(out), "--no-rich", "--no-exit-on-error", "--config", *settings]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        program.main()


def metrics(out: Path, category: str) -> list:
    return [json.loads(line) for line in (out / "metrics" / f"{category}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(mini, tmp_path_factory) -> Path:
    """Eight updates on the miniature."""
    out = tmp_path_factory.mktemp("fairseq2")
    run(training, out, *of(mini), *MODEL, *FAST, "regime.num_steps=8", "search.max_len_b=12")
    return out


def test_a_training_logs_every_term_and_the_word_error_rate(trained):
    steps, valid = metrics(trained, "train"), metrics(trained, "valid")
    assert len(steps) == 8 and len(valid) == 2
    for name in ("loss_text", "loss_speech", "loss_kl", "text", "speech", "kl", "Loss"):
        assert name in steps[-1], name
    terms = sum(steps[-1][name] for name in ("loss_text", "loss_speech", "loss_kl"))
    assert steps[-1]["Loss"] == pytest.approx(terms) and 0 < valid[-1]["Loss"] < valid[0]["Loss"]
    assert {"Word Error Rate (WER)", "cer", "Loss"} <= valid[-1].keys()


def test_a_training_goes_on_as_if_it_had_not_stopped(mini, trained, tmp_path):
    for number in (4, 8):
        run(training, tmp_path, *of(mini), *MODEL, *FAST, f"regime.num_steps={number}", "search.max_len_b=12")
    weights = [
        torch.load(out / "checkpoints/step_8/model/pp_00/tp_00/sdp_00.pt", weights_only=True)
        for out in (trained, tmp_path)
    ]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, msg=name)


def decoded(out: Path, data: Path, *settings: str) -> list:
    options = ["dataset.valid_split=test", "search.beam=4", "search.max_len_b=12", "common.no_sweep_dir=true"]
    run(decode, out, *of(data), *options, *settings)
    return [utterance.best.text for utterance in read_generate(out / "generate-test.txt")]


def test_a_checkpoint_goes_to_fairseq_with_the_same_hypotheses(mini, trained, tmp_path):
    found = decoded(tmp_path, mini, f"common.assets.prev_checkpoint_dir={trained / 'checkpoints'}")
    export(trained / "checkpoints", mini, tmp_path / "checkpoint.pt")
    model = hub.load(tmp_path / "checkpoint.pt", mini)
    expected = [model.transcribe_units(units, beam=4, max_len_b=12) for units in units_of(mini / "test.tsv")]
    assert found == expected and any(found)


def units_of(path: Path) -> list:
    return [utterance.units for utterance in read_manifest(path)]


def test_a_checkpoint_of_fairseq_is_decoded_and_trained_on(mini, tmp_path):
    train(mini, tmp_path / "fairseq", "--decoder-attention-heads", "4", updates=4)
    checkpoint = tmp_path / "fairseq/checkpoint_last.pt"
    start = [f"model.path={checkpoint}", "model.name=", "model.family=joint_transformer", "model.arch=tiny", *MODEL]
    model = hub.load(checkpoint, mini)
    expected = [model.transcribe_units(units, beam=4, max_len_b=12) for units in units_of(mini / "test.tsv")]
    assert decoded(tmp_path / "decoded", mini, *start) == expected
    run(training, tmp_path / "on", *of(mini), *start[:1], *MODEL, *FAST, "regime.num_steps=1")
    assert len(metrics(tmp_path / "on", "train")) == 1


def test_units_of_another_making_than_the_models_are_refused(mini, trained, tmp_path):
    other = make_data(tmp_path / "other", train=5, valid=5)
    write_manifest(other / "train.tsv", make_utterances(5), make_provenance(kmeans="sha256:9"))
    with pytest.raises(InputError, match=r"sha256:9.*but the model has.*sha256:0"):
        decoded(tmp_path / "out", other, f"common.assets.prev_checkpoint_dir={trained / 'checkpoints'}")


def test_a_training_goes_on_with_its_own_units_alone(trained, tmp_path):
    other = make_data(tmp_path / "other", train=5, valid=5)
    for split in ("train", "valid"):
        write_manifest(other / f"{split}.tsv", make_utterances(5), make_provenance(kmeans="sha256:9"))
    stated = (trained / "checkpoints/model.yaml").read_text()
    with pytest.raises(InputError, match=r"checkpoints: it was .* units .*sha256:0.*but the data has .*sha256:9"):
        run(training, trained, *of(other), *MODEL, *FAST, "regime.num_steps=9")
    assert (trained / "checkpoints/model.yaml").read_text() == stated


def test_splits_of_different_units_are_refused(tmp_path):
    data = make_data(tmp_path / "data", train=5, valid=5)
    write_manifest(data / "valid.tsv", make_utterances(5), make_provenance(layer=3))
    with pytest.raises(InputError, match=r"valid\.tsv: its units are .* layer 3"):
        run(training, tmp_path / "out", *of(data), *MODEL, *FAST)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("dataset.input_mask_prob=2", "dataset.input_mask_prob is a probability, not 2"),
        ("objective.speech_weight=.nan", "'speech': nan.* make no objective"),
    ],
)
def test_numbers_that_make_no_training_are_refused(setting, said, mini, tmp_path):
    with pytest.raises(InputError, match=said):
        run(training, tmp_path / "out", *of(mini), *MODEL, *FAST, setting)


def test_another_release_of_fairseq2_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(supported_release, "version", lambda name: "0.9.0")
    with pytest.raises(InputError, match=r"release 0\.9\.0 is installed, .* for 0\.8"):
        extension.setup(None)
    with pytest.raises(SystemExit, match=r"release 0\.9\.0"):
        training.main()


@pytest.mark.slow
def test_two_workers_train_as_one(mini, tmp_path):
    """By torchrun: the same loss as one worker that accumulates two batches."""
    settings = [*of(mini), *MODEL, *FAST, "regime.num_steps=2", "dataset.valid_split=null", "regime.score_metric=null"]
    run(training, tmp_path / "one", *settings, "trainer.grad_accumulation.num_batches=2")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    command += ["sld_user_dir.fairseq2", str(tmp_path / "two"), "--no-rich", "--config", *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for one, two in zip(metrics(tmp_path / "one", "train"), metrics(tmp_path / "two", "train")):
        assert two["Loss"] == pytest.approx(one["Loss"], rel=1e-5)
        assert two["Gradient Norm"] == pytest.approx(one["Gradient Norm"], rel=1e-4)
