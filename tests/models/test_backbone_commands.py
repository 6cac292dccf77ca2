"""A pretrained backbone from the vocabulary to the report, by the commands that a user types."""

import re
import shutil

import pytest
import torch
from support.backbones import TOKENS, make_base
from support.commands import sld
from support.miniature import fairseq_command, make_data

OPTIONS = [
    "--arch",
    "joint_hf",
    "--tokens-per-sample",
    "64",
    "--criterion",
    "sld",
    "--optimizer",
    "adam",
    "--lr",
    "0.01",
    "--max-tokens",
    "200",
    "--num-workers",
    "0",
    "--no-epoch-checkpoints",
]
LORA = ["--lora-rank", "2", "--lora-targets", "q_proj,v_proj"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A base, and a data directory with its tokenizer."""
    root = tmp_path_factory.mktemp("backbone")
    base, data = make_base(root / "base", "llama-untied"), make_data(root / "data", train=40, valid=6)
    assert sld("vocab", "--data", data, "--text-tokenizer", "hf", "--hf-model", base) == 0
    return base, data


def train(base, data, out, *more, updates=3):
    options = [*OPTIONS, "--hf-model", base, "--save-dir", out, "--max-update", updates, *more]
    done = fairseq_command("train", data, *options)
    return done.stdout + done.stderr


def generate(data, checkpoint, *more, check=True):
    options = ["--path", checkpoint, "--gen-subset", "valid", "--beam", "3", "--max-len-b", "8", "--scoring", "wer"]
    return fairseq_command("generate", data, *options, *more, check=check)


def test_train_and_decode(prepared, tmp_path):
    base, data = prepared
    log = train(base, data, tmp_path, *LORA, "--pack-utterances", "--eval-wer")
    assert re.search(r"wer \d", log)
    held = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)["model"]
    assert {name.split(".")[-1] for name in held} == {"weight", "new", "new_head", "base_fingerprint"}
    assert all("lora_" in name for name in held if name.endswith("weight"))
    done = generate(data, tmp_path / "checkpoint_last.pt")
    hypotheses = [line.split("\t")[2] for line in done.stdout.splitlines() if line.startswith("D-")]
    assert len(hypotheses) == 6 and {word for h in hypotheses for word in h.split()} <= set(TOKENS)
    assert "slow decoding" not in done.stdout + done.stderr


@pytest.mark.slow
def test_training_goes_on(prepared, tmp_path):
    base, data = prepared
    train(base, data, tmp_path, *LORA)
    log = train(base, data, tmp_path, *LORA, updates=5)
    assert "Loaded checkpoint" in log and "num_updates: 5" in log
    data_of_card = ["--data", data, "--out", tmp_path / "card.md"]
    assert sld("model-card", "--checkpoint", tmp_path / "checkpoint_last.pt", *data_of_card) == 0
    assert "joint_hf" in (tmp_path / "card.md").read_text()


@pytest.mark.slow
def test_decoding_over_another_base_is_refused(prepared, tmp_path):
    base, data = prepared
    moved = shutil.copytree(base, tmp_path / "moved")
    train(moved, data, tmp_path / "run", *LORA, updates=1)
    checkpoint = tmp_path / "run" / "checkpoint_last.pt"
    shutil.rmtree(moved)
    assert "no causal language model can be loaded" in generate(data, checkpoint, check=False).stderr
    overrides = "--model-overrides", f"{{'hf_model': '{base}'}}"
    assert generate(data, checkpoint, *overrides).returncode == 0  # the same weights elsewhere
    other = make_base(tmp_path / "other", "llama-untied", seed=1)
    failed = generate(data, checkpoint, "--model-overrides", f"{{'hf_model': '{other}'}}", check=False)
    assert failed.returncode != 0 and "name the same base" in failed.stderr


def test_vocabulary_of_the_models_own_tokenizer(prepared, tmp_path, capsys):
    _, data = prepared
    symbols = [line.rpartition(" ")[0] for line in (data / "dict.txt").read_text().splitlines()]
    # what would be taken for a special of ours, and what a line can't hold, is spelt by its id
    assert symbols[: len(TOKENS)] == ["<text:0>", "<|endoftext|>", "<text:2>", "<text:3>", *TOKENS[4:]]
    assert sld("vocab", "--data", data, "--text-tokenizer", "hf", "--hf-model", tmp_path / "none") == 1
    assert "no tokenizer can be loaded from there" in capsys.readouterr().err
