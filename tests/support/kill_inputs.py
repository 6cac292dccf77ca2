"""What the stages that are killed start from: a few seconds of sound, small pretrained models, a plan, an encoder."""

from pathlib import Path

import numpy as np
import soundfile
import yaml

WORDS = ["zero", "one", "two", "three", "four"]
RATE_HZ = 8000
PLAN = {
    "title": "Two trainings that are killed",
    "tuning": "nothing was tuned",
    "train": {
        "arch": "joint_lm_tiny",
        "decoder_layers": 1,
        "decoder_embed_dim": 32,
        "decoder_ffn_embed_dim": 64,
        "tokens_per_sample": 64,
        "optimizer": "adam",
        "lr": 0.003,
        "batch_size": 4,
        "max_update": 6,
        "save_interval_updates": 2,
        "keep_interval_updates": 1,
        "no_epoch_checkpoints": True,
        "num_workers": 0,
        "log_interval": 1,
        "eval_wer": True,
        "eval_wer_max_len": 4,
        "best_checkpoint_metric": "wer",
    },
    "generate": {"beam": 1, "max_len_a": 0, "max_len_b": 4},
    "conditions": {"tones": {"description": "tones in noise", "data": "data", "test_sets": ["valid"]}},
    "objectives": {"sld": {"description": "the paper's", "options": {"criterion": "sld"}}},
    "cells": [{"conditions": ["tones"], "objectives": ["sld"], "seeds": [1, 2]}],
    "comparisons": [],
}


def make_recordings(folder: Path, count: int = 14) -> None:
    """Tones in noise, a pitch a word, each with its transcript beside it; one recording is broken."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(count):
        words = rng.integers(0, len(WORDS), size=rng.integers(2, 5))
        time = np.arange(RATE_HZ // 10) / RATE_HZ
        tones = [np.sin(2 * np.pi * 200 * (1 + w) * time) for w in words]
        wave = 0.3 * np.concatenate(tones) + 0.02 * rng.standard_normal(len(words) * len(time))
        soundfile.write(folder / f"r{i:02}.wav", wave, RATE_HZ)
        (folder / f"r{i:02}.txt").write_text(" ".join(WORDS[w] for w in words) + "\n")
    (folder / "r03.wav").write_bytes(b"broken")


def make_plan(work: Path) -> None:
    """The plan of a sweep over the data directory."""
    (work / "plan.yaml").write_text(yaml.safe_dump(PLAN), encoding="utf-8")


def make_word_times(work: Path) -> None:
    """Word times of hypotheses, and true ones."""
    (work / "found.ctm").write_text("r00 1 0.00 0.12 zero\nr00 1 0.12 0.10 one\n")
    (work / "true.ctm").write_text("r00 1 0.00 0.10 zero\nr00 1 0.10 0.10 one\n")


def make_decoded(work: Path) -> None:
    """What was decoded, but that every second utterance is right, as of a model that has learnt something."""
    lines = (work / "results" / "generate-valid.txt").read_text().splitlines()
    blocks: dict = {}
    for kind, number, rest in (line.partition("\t")[0].split("-") + [line] for line in lines if line[1:2] == "-"):
        blocks.setdefault(number, []).append((kind, rest))
    changed = []
    for place, (number, block) in enumerate(blocks.items()):
        if place % 2 == 0:
            (text,) = (line.partition("\t")[2] for kind, line in block if kind == "T")
            pieces = " ".join(f"▁{word}" for word in text.split())
            right = [("H", pieces), ("D", text), ("P", " ".join(["-0.1"] * (len(text.split()) + 1)))]
            score = {"H": "-0.1\t", "D": "-0.1\t", "P": ""}
            block = block[:2] + [(k, f"{k}-{number}\t{score[k]}{value}") for k, value in right] + block[5:]
        changed += [line for _, line in block]
    (work / "decoded.txt").write_text("\n".join(changed) + "\n")


def make_gpt2(work: Path) -> None:
    """A random GPT-2 of the words, and a data directory with its vocabulary."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from support.miniature import make_data

    torch.manual_seed(0)
    sizes = {"n_positions": 24, "n_embd": 16, "n_layer": 1, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(WORDS), bos_token_id=0, eos_token_id=0, **sizes))
    model.save_pretrained(work / "gpt2")
    make_data(work / "words", train=3)


def make_backbone(work: Path) -> None:
    """A random language model that reads units, as `sld export-hf` writes it, and an empty data directory."""
    from sld_user_dir.models.hf_export import write_directory
    from support.backbones import make_base, make_model, vocabulary_of

    base = make_base(work / "pretrained", num_hidden_layers=1, layer_types=None)
    write_directory(make_model(base), str(base), vocabulary_of(base), work / "reads_units")
    (work / "backbone_data").mkdir()
