"""The model card against the files that it describes; its commands and examples are run."""

import re
import shlex
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from support.commands import sld
from support.miniature import NUM_UNITS, WORDS, fairseq_command, make_provenance, make_utterances, train

from sld_user_dir import hub
from sld_user_dir.experiment import card_facts
from sld_user_dir.experiment import model_card as cards
from sld_user_dir.experiment.card_objective import KL_TARGETS, describe_objective
from sld_user_dir.experiment.card_options import CardOptions
from sld_user_dir.losses.term import term_classes
from sld_user_dir.manifests.unit_manifest import read_manifest, write_manifest
from sld_user_dir.scoring import hypotheses
from sld_user_dir.scoring import rates as scoring


@pytest.fixture(scope="module")
def decoded(mini, checkpoint, tmp_path_factory):
    """fairseq-generate's output of the miniature's test set."""
    folder = tmp_path_factory.mktemp("decoded")
    fairseq_command(
        "generate",
        mini,
        "--path",
        checkpoint,
        "--gen-subset",
        "test",
        "--results-path",
        folder,
        "--beam",
        2,
        "--scoring",
        "wer",
        "--max-len-b",
        5,
    )
    return folder / "generate-test.txt"


def written(tmp_path, checkpoint, data, *options) -> str:
    out = tmp_path / "README.md"
    assert sld("model-card", "--checkpoint", checkpoint, "--data", data, "--out", out, *options) == 0
    return out.read_text(encoding="utf-8")


def front_matter(card: str) -> dict:
    _, head, _ = card.split("---\n", 2)
    return yaml.safe_load(head)


def section(card: str, title: str) -> str:
    return re.search(rf"^## {title}\n\n(.*?)(?=\n\n## |\Z)", card, re.M | re.S)[1]


def table(text: str) -> list:
    rows = [[c.strip().strip("`") for c in line.strip("|").split(" | ")] for line in text.splitlines() if "|" in line]
    return [row for row in rows if set(row) != {"---"}]


def blocks(card: str, language: str) -> list:
    return re.findall(rf"^```{language}\n(.*?)^```", card, re.M | re.S)


def test_everything_comes_from_the_files(mini, checkpoint, decoded, tmp_path):
    card = written(tmp_path, checkpoint, mini, "--results", str(decoded), "--license", "mit", "--name", "mini")
    model = hub.load(checkpoint, data=mini, device="cpu")
    data = {row[0]: row[1:] for row in table(section(card, "Data"))[1:]}
    for split, role in (("train", "training"), ("valid", "validation"), ("test", "test")):
        manifest = read_manifest(mini / f"{split}.tsv")
        words = sum(len(u.text.split()) for u in manifest)
        hours = f"{len(manifest.units) / 25 / 3600:.2f}"
        assert data[split][:6] == [role, str(len(manifest)), hours, str(len(manifest.units)), str(words), "2"]
    assert "License of the data: none (`train`, `valid`, `test`)" in section(card, "Data")
    assert "License of the weights: mit." in section(card, "Data")
    units = section(card, "Units")
    assert make_provenance().fingerprint in units and "25 Hz" in units and "sha256:0" in units
    assert dict(table(units)[1:])["units, K"] == str(NUM_UNITS)
    assert model.vocab.fingerprint in section(card, "Vocabulary")
    assert f"{len(model.vocab)} symbols: {len(WORDS)} of text" in section(card, "Vocabulary")
    options = {row[0]: row[1] for title in ("Model", "Objective", "Training") for row in table(section(card, title))}
    assert options["parameters"] == str(sum(p.numel() for p in model.models[0].parameters()))
    expected = {
        "architecture": "joint_lm_tiny",
        "decoder_layers": "2",
        "kl_weight": "0.008",
        "kl_variant": "paper",
        "updates": "4",
        "seed": "1",
        "optimizer": "adam",
        "lr": "[0.003]",
        "positions": "64",
    }
    assert {key: options[key] for key in expected} == expected
    assert str(mini) not in card and str(tmp_path) not in card and "save_dir" not in card


def test_the_rates_are_those_of_the_scorer(mini, checkpoint, decoded, tmp_path):
    card = written(tmp_path, checkpoint, mini, "--results", str(decoded))
    report = scoring.score(hypotheses.read_generate(decoded, read_manifest(mini / "test.tsv")))
    low, high = report["wer"]["interval_95"]
    (row,) = table(section(card, "Evaluation"))[1:]
    assert row[:2] == ["test", f"{report['wer']['rate']:.2f} ({low:.2f} to {high:.2f})"]
    assert row[4:6] == ["11", "2"]
    (model,) = front_matter(card)["model-index"]
    metrics = {m["type"]: m["value"] for m in model["results"][0]["metrics"]}
    assert metrics == {kind: round(report[kind]["rate"], 2) for kind in ("wer", "cer")}


def test_what_was_not_measured_says_so(mini, checkpoint, tmp_path):
    card = written(tmp_path, checkpoint, mini)
    assert section(card, "Evaluation").startswith("Not evaluated")
    assert "model-index" not in front_matter(card) and "WER" not in section(card, "Evaluation")
    assert "license" not in front_matter(card) and "License of the weights: not stated." in card
    assert {row[0] for row in table(section(card, "Data"))[1:]} == {"train", "valid"}


def test_the_same_bytes_again_and_nothing_written_by_hand_is_lost(mini, checkpoint, tmp_path, capsys):
    first = written(tmp_path, checkpoint, mini)
    assert written(tmp_path, checkpoint, mini) == first
    (tmp_path / "README.md").write_text("mine")
    arguments = ["--checkpoint", str(checkpoint), "--data", str(mini), "--out", str(tmp_path / "README.md")]
    assert sld("model-card", *arguments) == 1
    assert "README.md: was not written by this command" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == "mine"


def test_its_python_runs(mini, checkpoint, tmp_path, monkeypatch, capsys):
    card = written(tmp_path, checkpoint, mini)
    monkeypatch.chdir(checkpoint.parent)
    (code,) = blocks(card, "python")
    capsys.readouterr()
    exec(code.replace('"DATA"', repr(str(mini))), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3 and eval(lines[-1])[0] and "continue_units" in code


def test_its_commands_run(mini, checkpoint, decoded, tmp_path, monkeypatch, capsys):
    card = written(tmp_path, checkpoint, mini, "--results", str(decoded))
    (code,) = blocks(card, "sh")
    generate, scored = code.replace("\\\n", " ").replace("DATA", str(mini)).strip().splitlines()
    words = shlex.split(generate.replace("checkpoint_last.pt", str(checkpoint)).replace(" results", f" {tmp_path}"))
    assert words[0] == "fairseq-generate"
    own = words[words.index("--user-dir") : words.index("--path")]
    assert own == ["--user-dir", "sld_user_dir", "--task", "speech_unit_lm"]  # fairseq_command adds them
    fairseq_command("generate", words[1], *words[words.index("--path") :])
    words = shlex.split(scored.replace(" results", f" {tmp_path}"))
    capsys.readouterr()
    assert words[:2] == ["sld", "score"] and sld(*words[1:]) == 0
    assert "95 % bootstrap interval" in capsys.readouterr().out


def test_the_card_of_an_export(mini, checkpoint, tmp_path_factory, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    save_dir = tmp_path_factory.mktemp("gpt2")
    train(mini, save_dir, "--arch", "joint_lm_gpt2", "--decoder-attention-heads", "4", updates=1, criterion="masked_ce")
    arguments = ["--checkpoint", save_dir / "checkpoint_last.pt", "--data", mini, "--out", tmp_path / "out"]
    assert sld("export-gpt2", *arguments, "--language", "en") == 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert card.split("\n# ")[1].startswith("out\n")
    assert front_matter(card)["library_name"] == "transformers" and front_matter(card)["language"] == "en"
    assert "Loss Masking" in section(card, "Objective") and "does not predict units" in section(card, "Limits")
    theirs, ours = blocks(card, "python")
    assert "continue_units" not in ours
    done = subprocess.run(
        [sys.executable, "-c", theirs], cwd=tmp_path / "out", capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    symbols = eval(done.stdout.splitlines()[-1])
    assert set(symbols) <= {*WORDS, "</s>", "<pad>"}


def refusal(checkpoint, data, capsys, *results) -> str:
    """What the command says; nothing may be written."""
    options = ["--results", *map(str, results)] if results else []
    arguments = ["--checkpoint", str(checkpoint), "--data", str(data), "--out", str(data / "README.md"), *options]
    capsys.readouterr()
    assert sld("model-card", *arguments) == 1
    assert not (data / "README.md").exists()
    return capsys.readouterr().err


def copy_of(mini, folder, **changes):
    """A data directory of `mini`'s vocabulary with manifests of other units."""
    folder.mkdir()
    for name in ("dict.txt", "vocab.json"):
        (folder / name).write_bytes((mini / name).read_bytes())
    for number, (split, count) in enumerate((("train", 30), ("valid", 7), ("test", 11))):
        write_manifest(
            folder / f"{split}.tsv", make_utterances(count, f"{split}-", seed=number), make_provenance(**changes)
        )
    return folder


def test_a_card_never_describes_other_data(mini, checkpoint, decoded, tmp_path, capsys):
    other = copy_of(mini, tmp_path / "other", kmeans="sha256:1")
    assert re.search(
        r"train\.tsv: its units are .*, but checkpoint_last\.pt was trained on", refusal(checkpoint, other, capsys)
    )
    words = copy_of(mini, tmp_path / "words")
    (words / "dict.txt").write_text((words / "dict.txt").read_text().replace("zero", "null"))
    assert "its vocabulary is" in refusal(checkpoint, words, capsys)
    again = copy_of(mini, tmp_path / "again")
    lines = decoded.read_text().replace("S-3\t", "S-3\t1 ")
    (tmp_path / "generate-test.txt").write_text(lines)
    message = refusal(checkpoint, again, capsys, tmp_path / "generate-test.txt")
    assert re.search(r"generate-test\.txt: S-3 are other units than those of 'test-3' at .*test\.tsv:7; ", message)
    message = refusal(checkpoint, again, capsys, decoded, tmp_path / "generate-test.txt")
    assert "two results of one test set" in message
    (tmp_path / "generate-nowhere.txt").write_text(lines)
    assert "nowhere.tsv: no such manifest" in refusal(checkpoint, again, capsys, tmp_path / "generate-nowhere.txt")


def test_what_is_no_checkpoint_of_ours(mini, tmp_path, capsys):
    data = copy_of(mini, tmp_path / "data")
    (tmp_path / "no.pt").write_bytes(b"nothing")
    torch.save({"cfg": {"task": {"_name": "language_modeling"}}}, tmp_path / "other.pt")
    assert "no.pt: no checkpoint that torch reads" in refusal(tmp_path / "no.pt", data, capsys)
    assert "other.pt: no checkpoint that fairseq-train wrote for" in refusal(tmp_path / "other.pt", data, capsys)
    assert "missing.pt" in refusal(tmp_path / "missing.pt", data, capsys)


def test_missing_manifests_and_unknown_facts_are_said(mini, checkpoint, tmp_path):
    data = copy_of(mini, tmp_path / "data")
    (data / "train.tsv").unlink()
    facts = card_facts.gather(checkpoint, data)
    card = cards.model_card(facts, CardOptions())
    assert "`train.tsv` of the training was not at hand" in section(card, "Data")
    assert "Attribution of the data: not stated (`valid`)" in section(card, "Data")
    unknown = replace(facts.model, provenance=make_provenance(encoder="unknown", frame_rate_hz=0.0), seconds=None)
    card = cards.model_card(replace(facts, model=unknown), CardOptions())
    assert "What made its units was not stated" in section(card, "Limits") and "s of audio" not in card
    assert dict(table(section(card, "Units"))[1:])["rate before de-duplication"] == "unknown"
    silent = cards.model_card(replace(facts, model=replace(unknown, provenance=None)), CardOptions())
    assert "does not tell what made its units" in section(silent, "Units")


@pytest.mark.parametrize("deduplicated, hours", [(True, None), (False, 10 / 25 / 3600)])
def test_hours_where_units_tell_them(tmp_path, deduplicated, hours):
    rows = make_utterances(1)
    rows[0].units = np.arange(10, dtype=np.int32)
    write_manifest(tmp_path / "a.tsv", rows, make_provenance(deduplicated=deduplicated))
    found = card_facts._hours(read_manifest(tmp_path / "a.tsv"))
    assert found == (None if hours is None else pytest.approx(hours))
    rows[0].durations = np.full(10, 5)
    write_manifest(tmp_path / "b.tsv", rows, make_provenance(deduplicated=True))
    assert card_facts._hours(read_manifest(tmp_path / "b.tsv")) == pytest.approx(50 / 25 / 3600)


SLD = {"_name": "sld", "kl_weight": 0.008, "kl_variant": "paper", "text_weight": 1.0, "speech_weight": 1.0}
TEXT, SPEECH = "cross-entropy on text", "cross-entropy on speech"
KL = "a KL divergence on speech (weight 0.008), whose target is "
PAPER = KL + "the paper's: smoothed one-hot on the speech tokens"


@pytest.mark.parametrize(
    "criterion, name, terms",
    [
        ({"_name": "masked_ce"}, "Loss Masking", [TEXT]),
        ({**SLD, "kl_weight": 0.0}, "Multimodal cross-entropy", [TEXT, SPEECH]),
        ({**SLD, "kl_weight": 0.0, "speech_weight": 0.0}, "Loss Masking", [TEXT]),
        ({**SLD, "speech_weight": 0.0}, "Smoothed Label Distillation", [TEXT, PAPER]),
        (SLD, "Smoothed Label Distillation", [TEXT, SPEECH, PAPER]),
        (
            {**SLD, "kl_variant": "official"},
            "Smoothed Label Distillation",
            [TEXT, SPEECH, KL + "that of the authors' program: nearly uniform, on every position"],
        ),
        (
            {**SLD, "kl_variant": "centroid"},
            "Smoothed Label Distillation",
            [TEXT, SPEECH, KL + "the nearness of the k-means centroids, this package's own"],
        ),
        ({**SLD, "text_weight": 2.0}, "Smoothed", [f"{TEXT} (weight 2.0)", SPEECH, PAPER]),
        ({**SLD, "text_weight": 0.0}, "Smoothed", [SPEECH, PAPER]),
        ({**SLD, "text_label_smoothing": 0.1}, "Smoothed", [f"{TEXT} (label smoothing 0.1)", SPEECH, PAPER]),
        (
            {**SLD, "speech_weight": 4.2, "speech_label_smoothing": 0.2},
            "Smoothed",
            [TEXT, f"{SPEECH} (weight 4.2, label smoothing 0.2)", PAPER],
        ),
        (
            {**SLD, "speech_within_units": True},
            "Smoothed",
            [TEXT, f"{SPEECH} (with the softmax over the units alone)", PAPER],
        ),
        ({**SLD, "ctc_weight": 0.3}, "Smoothed", [TEXT, SPEECH, PAPER, "CTC on the speech positions (weight 0.3)"]),
        ({"_name": "masked_ce", "ctc_weight": 0.3}, "Loss", [TEXT, "CTC on the speech positions (weight 0.3)"]),
    ],
)
def test_the_objective_in_words(criterion, name, terms):
    heading, said = describe_objective(criterion).split(": ", 1)
    assert heading.startswith(name) and said.removesuffix(".").split("; ") == terms


def test_answers_in_speech_are_a_term_where_a_task_has_them():
    assert "answers" not in describe_objective(SLD)
    assert "; cross-entropy on answers in speech; a KL" in describe_objective(SLD, answers_in_speech=True)
    weighted = describe_objective({"_name": "masked_ce", "speech_target_weight": 0.5}, answers_in_speech=True)
    assert weighted.endswith(": cross-entropy on text; cross-entropy on answers in speech (weight 0.5).")


def test_other_criteria_are_fairseqs():
    assert describe_objective({"_name": "cross_entropy"}) == "`--criterion cross_entropy` of fairseq."


def test_every_variant_of_the_kl_has_its_words():
    assert set(KL_TARGETS) == {cls.variant for cls in term_classes() if cls.name == "kl"}
