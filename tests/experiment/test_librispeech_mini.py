"""`make librispeech-mini` on a miniature: trained, decoded with CTC, scored, reported, and nothing done twice."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.backbones import make_base
from support.forks import forwarding_programs
from support.miniature import NUM_UNITS, ROOT, fairseq_command, make_data, make_provenance, make_utterances

sys.path.insert(0, str(ROOT / "scripts"))

import librispeech_mini

from sld_user_dir.clustering.kmeans_file import Centroids, centroids_sha256
from sld_user_dir.experiment import fairseq_commands
from sld_user_dir.experiment.fairseq_commands import option_list
from sld_user_dir.experiment.results import format_table
from sld_user_dir.manifests.unit_manifest import read_manifest, write_manifest
from sld_user_dir.stored_checkpoint import read_stored
from sld_user_dir.vocabulary.joint import JointVocabulary

MINIATURE = ROOT / "manifests" / "librispeech-mini"


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """A data directory of two kinds in which units and k-means agree, and the script's arguments on it."""
    data = make_data(tmp_path / "data" / "whisper", train=30, valid=7, test=11)
    values = np.random.default_rng(0).normal(size=(NUM_UNITS, 5)).astype(np.float32)
    Centroids.save(data / "kmeans.npz", values, {})
    for number, (split, count) in enumerate((("train", 30), ("valid", 7), ("test", 11))):
        utterances = make_utterances(count, f"{split}-", seed=number)
        write_manifest(data / f"{split}.tsv", utterances, make_provenance(kmeans=centroids_sha256(values)))
    programs = forwarding_programs(tmp_path / "bin", "fairseq-train", "fairseq-generate")
    monkeypatch.setattr(fairseq_commands, "executable", lambda name: str(programs / name))
    small = {"decoder_layers": 1, "decoder_embed_dim": 16, "decoder_ffn_embed_dim": 32, "max_tokens": 200}
    monkeypatch.setattr(librispeech_mini, "BASE", {**librispeech_mini.BASE, **small})
    return ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--max-update", "3"]


@pytest.mark.parametrize(("preset", "weight"), [("standard", 0.8), ("long", 0.5)])
def test_the_search_weighs_ctc_as_validation_did(preset, weight):
    plan = librispeech_mini.build_plan(librispeech_mini.LibriSpeechMiniConfig(preset=preset))
    assert plan.generate_options["decode_ctc_weight"] == plan.train_options["decode_ctc_weight"] == weight


def test_on_a_miniature_and_again(tmp_path, arguments, capsys):
    arguments += ["--criteria", "sld,masked_ce"]
    assert librispeech_mini.main(arguments) == 0
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(row["criterion"], row["test_set"], row["utterances"]) for row in rows] == [
        ("sld", "test", 11),
        ("masked_ce", "test", 11),
    ]
    assert all(row["updates"] == 3 and row["preset"] == "standard" for row in rows)
    for row in rows:
        train, decode = row["commands"]
        assert "--ctc-weight 1.0" in train and "--init-unit-embeddings" in train and "--decode-ctc-weight 0.8" in decode
    assert format_table(rows) in capsys.readouterr().out
    errors = (tmp_path / "out" / "errors.md").read_text()
    assert "## sld on test" in errors and "by speaker" in errors and "by length" in errors and "s1" in errors
    assert (tmp_path / "out" / "learning_curve.png").stat().st_size and (tmp_path / "out" / "report.html").exists()
    assert librispeech_mini.main(arguments) == 0
    assert "$" not in capsys.readouterr().out  # nothing was run again


def test_a_backbone_takes_the_small_models_place(tmp_path, arguments, monkeypatch):
    """Its data directory has its own vocabulary, and of the small model's options none is left."""
    base = make_base(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    config = librispeech_mini.LibriSpeechMiniConfig(backbone="base", data=Path(arguments[1]), out=tmp_path / "out")
    plan = librispeech_mini.build_plan(config)
    assert JointVocabulary.load(plan.data).tokenizer.name == "hf" and (plan.data / "train.tsv").is_symlink()
    few = {"criterion": "sld", "max_update": 1, "tokens_per_sample": 64, "eval_wer": None, "save_dir": plan.out}
    few["best_checkpoint_metric"] = "loss"
    fairseq_command("train", plan.data, *option_list({**plan.train_options, **few}))
    held = read_stored(plan.out / "checkpoint_last.pt")
    assert held["cfg"]["model"]["hf_model"] == str(base) and any("lora_" in name for name in held["model"])
    assert plan.generate_options["decode_ctc_weight"] is None
    assert librispeech_mini.build_plan(config).data == plan.data  # made once


def test_what_is_missing_is_named(tmp_path, arguments, capsys):
    assert librispeech_mini.main([*arguments, "--criteria", "magic"]) == 1
    assert "no criterion 'magic'" in capsys.readouterr().err
    assert librispeech_mini.main([*arguments, "--units", "mfcc"]) == 1
    assert "mfcc" in capsys.readouterr().err


def test_make_hands_presets_over():
    done = subprocess.run(
        ["make", "-n", "librispeech-mini", "PRESET=long", "ARGS=--criteria masked_ce"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "scripts/librispeech_mini.py --preset long --criteria masked_ce" in done.stdout


@pytest.mark.parametrize("kind", ["whisper", "mfcc"])
def test_committed_manifests(kind):
    """Licence and attribution in each; no speaker in two sets; valid is part of dev; the k-means made them."""
    speakers: dict = {}
    readme = (MINIATURE / "README.md").read_text()
    kmeans = Centroids.load(MINIATURE / kind / "kmeans.npz")
    assert "/" not in str(kmeans.metadata["features"]["features"]).removeprefix("openai/")
    counts = {"train": 1519, "dev": 1313, "valid": 188, "test": 2620}
    ids = {}
    for subset, count in counts.items():
        manifest = read_manifest(MINIATURE / kind / f"{subset}.tsv")
        assert manifest.header["license"] == "CC BY 4.0" and "Panayotov" in manifest.header["attribution"]
        assert ("supervised" in manifest.header["attribution"]) == (kind == "whisper")
        kmeans.check(manifest.provenance, subset)
        ids[subset] = set(manifest.column("id"))
        words = sum(len(text.split()) for text in manifest.column("text"))
        voices = len(set(manifest.column("speaker")))
        assert re.search(rf"\| `{subset}` \| {count:,} \| [\d.]+ \| {voices} \| {words:,} \|", readme)
        for speaker in manifest.column("speaker"):
            assert speakers.setdefault(speaker, subset.replace("valid", "dev")) == subset.replace("valid", "dev")
    assert ids["valid"] < ids["dev"]


def test_committed_manifests_are_small():
    files = [path for path in MINIATURE.rglob("*") if path.is_file() and ".mmap" not in path.parts]  # maps are made
    assert sum(path.stat().st_size for path in files) <= 25_000_000
