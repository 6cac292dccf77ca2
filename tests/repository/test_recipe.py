"""scripts/librispeech.sh: its stages with programs that only pretend, and the whole of it on a miniature corpus."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.encoders import save_transformers
from support.forks import WITH_TRANSFORMERS, forwarding_programs
from support.miniature import ROOT, WORDS
from transformers import GPT2Config, GPT2LMHeadModel

from scripts import librispeech_cost

RECIPE = ROOT / "scripts" / "librispeech.sh"
STAGES = ["audio", "kmeans", "units", "subwords", "data", "gpt2", "train", "decode", "score"]
SETS = {"train-clean-100": 14, "dev-clean": 3, "test-other": 3}
SMALL = [
    "--train-sets",
    "train-clean-100",
    "--dev-sets",
    "dev-clean",
    "--test-sets",
    "test-other",
    "--device",
    "cpu",
    "--cpu",
    "--precision",
    "fp32",
    "--batch",
    "4",
    "--gpu-batch",
    "4",
    "--max-len",
    "20",
]
CALLS = 16  # of programs, in a whole run
# what each program of the recipe would leave behind; PRETEND_FAIL names one that dies instead
PRETENDER = """
import os, sys
from pathlib import Path
name, *rest = sys.argv[1:]
name, words = (f"sld {rest[0]}", rest[1:]) if name == "sld" else (name, rest)
with open(os.environ["PRETEND_LOG"], "a") as log:
    print(name.replace(" ", "-"), *words, file=log)
if os.environ.get("PRETEND_FAIL") == name:
    sys.exit("killed")

def after(option):
    return Path(words[words.index(option) + 1])

def write(path, text=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text or f"what {name} makes\\n")

if name == "sld limit":
    write(after("--data") / "train.tsv", "# format\\nid\\tunits\\ttext\\n" + 130 * "row\\n")
elif name == "sld vocab":
    write(after("--data") / "dict.txt"), write(after("--data") / "vocab.json")
elif name == "sld subwords":
    write(after("--model"))
    for path in words[words.index("--encode") + 1 : words.index("--out-dir")]:
        write(after("--out-dir") / Path(path).name)
elif name in ("fairseq-train", "torchrun"):
    write(after("--save-dir") / "checkpoint_last.pt"), write(after("--save-dir") / "checkpoint_best.pt")
elif name == "fairseq-generate":
    write(after("--results-path") / f"generate-{after('--gen-subset')}.txt")
elif name == "sld score":
    write(after("--json")), print("the table")
elif "--out" in words:
    write(after("--out"))
"""


def recipe(*options: object, check: bool = True, **environment: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [str(RECIPE), *map(str, options)], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=300
    )
    if check:
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


def speech(text: str) -> np.ndarray:
    """A tone a word, 16 kHz, in noise."""
    seconds = np.arange(3200) / 16000
    tones = [np.sin(2 * np.pi * 250 * 1.5 ** WORDS.index(word) * seconds) for word in text.lower().split()]
    return np.concatenate(tones) * 0.3 + 0.01 * np.random.default_rng(len(text)).standard_normal(3200 * len(tones))


def make_corpus(folder: Path) -> Path:
    """LibriSpeech's layout: SET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac and SPEAKER-CHAPTER.trans.txt."""
    rng = np.random.default_rng(0)
    for number, (name, count) in enumerate(SETS.items(), 1):
        chapter = folder / name / str(number) / "7"
        chapter.mkdir(parents=True)
        lines = []
        for i in range(count):
            text = " ".join(WORDS[k] for k in rng.integers(len(WORDS), size=rng.integers(2, 5))).upper()
            lines.append(f"{number}-7-{i:04} {text}\n")
            soundfile.write(chapter / f"{number}-7-{i:04}.flac", speech(text), 16000)
        (chapter / f"{number}-7.trans.txt").write_text("".join(lines))
    return folder


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """Empty folders of a corpus and programs that only note how they were called: returns a runner."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    (bin_dir / "pretender.py").write_text(PRETENDER)
    for name in ("python", "sld", "fairseq-train", "fairseq-generate", "torchrun"):
        program = bin_dir / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {bin_dir}/pretender.py {name} "$@"\n')
        program.chmod(0o755)
    for name in SETS:
        (tmp_path / "corpus" / name).mkdir(parents=True)
    monkeypatch.setenv("PYTHON", str(bin_dir / "python"))
    log = tmp_path / "calls"

    def run(*options: object, **more: object) -> list:
        """Calls that the recipe made."""
        log.write_text("")
        arguments = ["--corpus", tmp_path / "corpus", "--out", tmp_path / "out", *SMALL, *options]
        run.done = recipe(*arguments, PRETEND_LOG=str(log), **more)
        calls = [line.split() for line in log.read_text().splitlines()]
        return [[call[0].replace("sld-", "sld "), *call[1:]] for call in calls]

    return run


def programs(calls: list) -> set:
    return {call[0] for call in calls}


def option(call: list, name: str) -> str:
    return call[call.index(name) + 1]


def test_a_second_call_does_nothing(pretend):
    assert len(pretend()) == CALLS
    assert "the table" in pretend.done.stdout
    assert pretend() == []
    assert [line for line in pretend.done.stdout.splitlines() if line.startswith("#")] == [
        f"# stage {i}: {name}{'-sld' if i > 6 else ''} is done" for i, name in enumerate(STAGES, 1)
    ]


@pytest.mark.parametrize(
    ("deleted", "redone"),
    [
        ("units.model", {"sld subwords"}),
        ("data/train.tsv", {"sld vocab", "sld limit"}),
        ("sld/decode/generate-test-other.txt", {"fairseq-generate"}),
    ],
)
def test_a_stage_whose_output_is_gone_is_redone_and_no_other(pretend, tmp_path, deleted, redone):
    pretend()
    (tmp_path / "out" / deleted).unlink()
    assert programs(pretend()) == redone


@pytest.mark.parametrize("killed", ["sld kmeans", "sld subwords", "sld import-gpt2", "fairseq-train", "sld score"])
def test_a_killed_stage_is_redone_and_what_was_done_is_not(pretend, killed):
    before = pretend(PRETEND_FAIL=killed, check=False)
    assert pretend.done.returncode != 0
    after = pretend()
    assert killed in programs(after) and not programs(before[:-1]) & programs(after)
    assert len(before[:-1]) + len(after) == CALLS


def test_changed_settings_redo_what_depends_on_them(pretend, tmp_path):
    pretend()
    assert programs(pretend("--beam", 4)) == {"fairseq-generate"}  # whose results are the same here
    (tmp_path / "out" / "units" / "train_all.tsv").write_text("other units\n")
    assert "sld subwords" in programs(pretend("--beam", 4))


def test_another_objective_shares_the_data(pretend, tmp_path):
    pretend()
    calls = pretend("--objective", "masked_ce")
    assert programs(calls) == {"fairseq-train", "fairseq-generate", "sld score"}
    assert option(calls[0], "--criterion") == "masked_ce"
    assert pretend() == [] and pretend("--objective", "masked_ce") == []
    assert (tmp_path / "out" / "masked_ce" / "scores.txt").read_text() == "the table\n"


def test_a_backbone_takes_gpt2s_place(pretend, tmp_path):
    """The stages are the same; vocabulary and training name the model by its path from the root."""
    (tmp_path / "smollm").mkdir()
    calls = pretend("--backbone", tmp_path / "smollm" / ".." / "smollm", "--lora-rank", 8)
    assert len(calls) == CALLS - 1 and "sld import-gpt2" not in programs(calls)
    (vocab,) = (call for call in calls if call[0] == "sld vocab")
    (train,) = (call for call in calls if call[0] == "fairseq-train")
    assert option(vocab, "--text-tokenizer") == "hf"
    assert option(vocab, "--hf-model") == option(train, "--hf-model") == str(tmp_path / "smollm")
    assert option(train, "--arch") == "joint_hf" and option(train, "--lora-rank") == "8"
    assert pretend("--backbone", tmp_path / "smollm", "--lora-rank", 8) == []


def test_a_training_of_other_settings_is_not_gone_on_with(pretend):
    pretend()
    pretend("--lr", "1e-3", check=False)
    assert "holds a training of other settings" in pretend.done.stderr
    assert "fairseq-train" in programs(pretend("--lr", "1e-3", "--name", "faster"))


def test_the_dev_sets_are_one_validation_set(pretend, tmp_path):
    pretend("--dev-sets", "dev-clean test-other", "--stop-stage", 4)
    for name in ("dev-clean", "test-other"):
        lines = "# format: 1\n# provenance: 2\nid\tunits\n" + "".join(f"{name}-{i}\t{i}\n" for i in range(2))
        (tmp_path / "out" / "data" / f"{name}.tsv").write_text(lines)
    pretend("--dev-sets", "dev-clean test-other", "--stage", 5, "--stop-stage", 5)
    assert (tmp_path / "out" / "data" / "valid.tsv").read_text().splitlines() == [
        "# format: 1",
        "# provenance: 2",
        "id\tunits",
        "dev-clean-0\t0",
        "dev-clean-1\t1",
        "test-other-0\t0",
        "test-other-1\t1",
    ]


def test_where_work_runs_changes_nothing(pretend):
    calls = pretend("--jobs", "--executor local --shards 3", "--gpus", 2, "--gpu-batch", 1, "--launch", "torchrun --x")
    assert all(option(call, "--shards") == "3" for call in calls if call[0] in ("sld units", "sld kmeans"))
    assert ["torchrun", "--x", "fairseq-train"] in [call[:3] for call in calls]
    (training,) = [call for call in calls if call[0] == "torchrun"]
    assert option(training, "--distributed-world-size") == "2" and option(training, "--update-freq") == "2"
    assert pretend() == []


def test_stages_by_number(pretend):
    assert programs(pretend("--stop-stage", 2)) == {"sld audio", "sld kmeans"}
    assert programs(pretend("--stage", 3, "--stop-stage", 3)) == {"sld units"}
    pretend("--stage", 8, check=False)
    assert "stage decode needs" in pretend.done.stderr and "checkpoint_best.pt" in pretend.done.stderr


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ("masked_ce", "--criterion masked_ce"),
        ("multimodal_ce", "--criterion sld --kl-weight 0"),
        ("sld", "--criterion sld --kl-variant paper --kl-weight 0.008 --kl-temperature 1 --kl-smoothing 0.1"),
        ("sld_official", "--criterion sld --kl-variant official --kl-weight 0.008"),
    ],
)
def test_dry_run_prints_the_authors_settings_and_makes_nothing(tmp_path, objective, words):
    done = recipe("--dry-run", "--out", tmp_path / "out", "--objective", objective, "--gpus", 8, PYTHON=sys.executable)
    assert not (tmp_path / "out").exists()
    commands = [shlex.split(line[2:]) for line in done.stdout.splitlines() if line.startswith("$ ")]
    training = " ".join(next(command for command in commands if command[0] == "fairseq-train"))
    for expected in (
        words,
        "--lr 3e-4 --lr-scheduler polynomial_decay --warmup-updates 0",
        "--max-epoch 10",
        "--input-mask-prob 0.3",
        "--distributed-world-size 8 --batch-size 8 --update-freq 1",
        "--fp16",
    ):
        assert expected in training
    everything = done.stdout
    for expected in (
        "--speeds 0.9 1.0 1.1",
        "--features microsoft/wavlm-large --layer 23 --num-units 2000",
        "--share 0.10416667",
        "--num-pieces 6000",
        "--max-tokens 1024 --max-text-tokens 150",
        "--gpt2 gpt2-medium",
        "--beam 1",
    ):
        assert expected in everything
    assert [line.split()[-1] for line in everything.splitlines() if line.startswith("#")] == STAGES
    assert sum(command[0] == "fairseq-generate" for command in commands) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--corpus", "nowhere"], "nowhere/train-clean-100: no such folder"),
        (["--objective", "ce"], "no objective 'ce'; choose masked_ce"),
        (["--objektive", "sld"], "unknown option --objektive"),
        (["--lr"], "--lr wants a value"),
        (["--gpus", "3"], "a batch of 64 is no multiple of 3 GPUs"),
        (["--precision", "fp8"], "--precision is fp16"),
        (["--select", "best"], "--select is wer"),
    ],
)
def test_plain_errors(tmp_path, options, message):
    done = recipe("--out", tmp_path / "out", *options, check=False, PYTHON=sys.executable)
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.startswith("librispeech.sh: ") and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_missing_tools_are_named(tmp_path):
    (tmp_path / "python").symlink_to(sys.executable)
    path = f"{tmp_path}:/usr/bin:/bin"
    done = recipe("--out", tmp_path / "out", check=False, PATH=path, PYTHON=str(tmp_path / "python"))
    assert "sld is missing" in done.stderr
    done = recipe("--out", tmp_path / "out", check=False, PYTHON="/nowhere/python")
    assert "/nowhere/python: no such program" in done.stderr


def test_help_lists_every_option():
    text = recipe("--help").stdout
    for name in ("--corpus", "--objective", "--too-long", "--mask-tokens", "--select", "--jobs", "--launch"):
        assert name in text


def make_models(folder: Path) -> None:
    """A tiny random WavLM, and a tiny random GPT-2 with a tokenizer of a few letters."""
    save_transformers(folder / "wavlm", "wavlm", prenorm=True)
    letters = sorted({letter for word in WORDS for letter in word})
    pieces = [*letters, *(f"Ġ{letter}" for letter in letters), "Ġ", "on", "one", "<|endoftext|>"]
    torch.manual_seed(0)
    size = {"n_positions": 128, "n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": len(pieces)}
    GPT2LMHeadModel(GPT2Config(**size, bos_token_id=0, eos_token_id=0)).save_pretrained(folder / "gpt2")
    (folder / "gpt2" / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    merges = [f"Ġ {letter}" for letter in letters]
    (folder / "gpt2" / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, "o n", "on e", ""]))


def test_the_whole_recipe_on_a_miniature_corpus(tmp_path):
    """Corpus to word error rates; again, which does nothing; and without one file, which redoes its stage."""
    corpus, out = make_corpus(tmp_path / "LibriSpeech"), tmp_path / "out"
    make_models(tmp_path)
    programs = ["sld", "fairseq-train", "fairseq-generate"]
    python = str(forwarding_programs(tmp_path / "bin", *programs, imported=WITH_TRANSFORMERS) / "python")
    options = [
        "--corpus",
        corpus,
        "--out",
        out,
        *SMALL,
        "--encoder",
        tmp_path / "wavlm",
        "--layer",
        2,
        "--num-units",
        12,
        "--kmeans-share",
        0.5,
        "--kmeans-options",
        "--max-iterations 5",
        "--num-pieces",
        20,
        "--gpt2",
        tmp_path / "gpt2",
        "--max-tokens",
        60,
        "--epochs",
        2,
        "--objective",
        "sld_official",
        "--mask-tokens",
        "all",
        "--train-options",
        "--num-workers 0",
        "--decode-options",
        "--batch-size 8 --num-workers 0",
    ]
    first = recipe(*options, PYTHON=python)
    (out / "log.txt").write_text(first.stdout + first.stderr)
    scores = json.loads((out / "sld_official" / "scores.json").read_text())
    assert scores["utterances"] == SETS["dev-clean"] + SETS["test-other"]
    assert "dev-clean" in first.stdout and "test-other" in first.stdout and "WER" in first.stdout
    rows = [line.split("\t")[0] for line in (out / "data" / "valid.tsv").read_text().splitlines()]
    assert [row for row in rows if not row.startswith("#")][1:] == [f"dev-clean/2/7/2-7-{i:04}" for i in range(3)]
    made = {path: path.stat().st_mtime_ns for path in (out / ".done").iterdir()}
    assert len(made) == len(STAGES)
    again = recipe(*options, PYTHON=python)
    assert again.stdout.count("is done") == len(STAGES) and "$ " not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (out / ".done").iterdir()} == made
    model, before = out / "units.model", (out / "units.model").read_bytes()
    model.unlink()
    redone = recipe(*options, PYTHON=python)
    assert redone.stdout.count("is done") == len(STAGES) - 1 and model.read_bytes() == before


def test_costs_in_the_documentation_are_what_the_script_prints(capsys):
    assert librispeech_cost.main([]) == 0
    text = (ROOT / "docs" / "librispeech.md").read_text(encoding="utf-8")
    assert f"<!-- cost -->\n{capsys.readouterr().out}<!-- /cost -->" in text


def test_costs_follow_their_formulas():
    """GPT-2 medium's 355 M parameters; 6 FLOP a parameter and token; twice the speech, twice the work."""
    config = librispeech_cost.CostConfig(vocabulary=50257, width=1024)
    disk = librispeech_cost.cost(config)["disk: three checkpoints (12 bytes a parameter, Adam's moments included), GB"]
    assert disk / 36 * 1e9 == pytest.approx(354.8e6, rel=2e-3)
    assert librispeech_cost.cost(config)["training, GFLOP a token"] == pytest.approx(6 * 0.3535, rel=0.04)
    twice = replace(
        config,
        train_hours=2 * config.train_hours,
        train_utterances=2 * config.train_utterances,
        train_words=2 * config.train_words,
        other_hours=2 * config.other_hours,
    )
    for name, value in librispeech_cost.cost(config).items():
        if name.split(",")[-1].strip() in ("EFLOP", "GPU hours", "millions", "hours"):
            assert librispeech_cost.cost(twice)[name] == pytest.approx(2 * value), name
