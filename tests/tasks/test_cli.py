"""fairseq's commands with ``--user-dir``: what a user types must work. Each command is once a fresh interpreter."""

import re
import shutil
import subprocess
import sys

import pytest
from support.fairseq_logs import logged
from support.miniature import ROOT, TRAIN_OPTIONS, fairseq_command, make_data, make_provenance, make_utterances, train

from sld_user_dir.manifests.unit_manifest import write_manifest
from sld_user_dir.scoring.hypotheses import read_generate


def generate(data, checkpoint, results, *options, subset="test", check=True, fresh=False):
    return fairseq_command(
        "generate",
        data,
        "--path",
        checkpoint,
        "--gen-subset",
        subset,
        "--results-path",
        results,
        "--scoring",
        "wer",
        "--max-len-a",
        0,
        "--max-len-b",
        10,
        "--beam",
        2,
        *options,
        check=check,
        fresh=fresh,
    )


@pytest.mark.parametrize("criterion", ["masked_ce", "sld"])
def test_train_saves_and_resumes(mini, tmp_path, criterion):
    options = ["--eval-wer", "--best-checkpoint-metric", "wer", "--input-mask-prob", "0.3"]
    whole = train(mini, tmp_path / "whole", *options, criterion=criterion, updates=6, fresh=True)
    train(mini, tmp_path / "parts", *options, criterion=criterion, updates=3)
    resumed = train(mini, tmp_path / "parts", *options, criterion=criterion, updates=6)
    assert any("Loaded checkpoint" in line for line in resumed)

    def losses(lines):
        return {log["num_updates"]: log["text"] for log in logged(lines, "train_inner")}

    assert losses(resumed) == {k: v for k, v in losses(whole).items() if int(k) > 3}
    assert "valid_wer" in logged(whole, "valid")[-1]
    assert (tmp_path / "whole" / "checkpoint_best.pt").exists()


def test_stock_transformer_lm_architecture_works_with_the_task(mini, tmp_path):
    dim = ["--decoder-embed-dim", "32", "--decoder-input-dim", "32", "--decoder-output-dim", "32"]
    train(mini, tmp_path, "--arch", "transformer_lm", *dim, updates=2)
    done = generate(mini, tmp_path / "checkpoint_last.pt", tmp_path / "out")
    assert done.returncode == 0
    assert len(read_generate(tmp_path / "out" / "generate-test.txt")) == 11


OTHER_ARCHITECTURES = {
    "lstm_lm": ["--decoder-embed-dim", "16", "--decoder-hidden-size", "16", "--decoder-out-embed-dim", "16"],
    "fconv_lm": ["--decoder-embed-dim", "16", "--decoder-layers", "[(16, 3)]"],
    "transformer_lm_baevski_wiki103": [
        "--decoder-layers",
        "1",
        "--decoder-embed-dim",
        "16",
        "--decoder-input-dim",
        "16",
        "--decoder-output-dim",
        "16",
        "--decoder-attention-heads",
        "2",
        "--decoder-ffn-embed-dim",
        "16",
        "--adaptive-softmax-cutoff",
        "10,15",
        "--adaptive-input-cutoff",
        "10,15",
    ],
}


@pytest.mark.parametrize("name", OTHER_ARCHITECTURES)
def test_fairseqs_other_language_models_train_and_decode(mini, tmp_path, name):
    done = fairseq_command(
        "train",
        mini,
        "--arch",
        name,
        *OTHER_ARCHITECTURES[name],
        "--criterion",
        "sld",
        "--optimizer",
        "adam",
        "--max-tokens",
        200,
        "--tokens-per-sample",
        64,
        "--max-update",
        2,
        "--save-dir",
        tmp_path,
        "--no-epoch-checkpoints",
    )
    assert "computed from full logits, not fused: it" in done.stdout + done.stderr
    generate(mini, tmp_path / "checkpoint_last.pt", tmp_path / "out")
    assert len(read_generate(tmp_path / "out" / "generate-test.txt")) == 11


def test_validate_reports_our_metrics(mini, checkpoint):
    options = ["--valid-subset", "valid", "--max-tokens", 200]
    done = fairseq_command("validate", mini, "--path", checkpoint, *options, fresh=True)
    text = done.stdout + done.stderr
    assert "text_ppl" in text and "speech_ppl" in text


def test_generate_prints_clean_lines_for_every_utterance(mini, checkpoint, tmp_path):
    generate(mini, checkpoint, tmp_path, "--nbest", 2, fresh=True)
    path = tmp_path / "generate-test.txt"
    utterances = dict(enumerate(make_utterances(11, "test-", seed=2)))
    lines = path.read_text().splitlines()
    sources = {int(m[1]): m[2] for line in lines if (m := re.match(r"S-(\d+)\t(.*)", line))}
    targets = {int(m[1]): m[2] for line in lines if (m := re.match(r"T-(\d+)\t(.*)", line))}
    assert sources == {i: " ".join(map(str, u.units)) for i, u in utterances.items()}
    assert targets == {i: u.text for i, u in utterances.items()}
    for kind in "HDP":
        assert sum(line.startswith(f"{kind}-") for line in lines) == 22
    hypotheses = [line.split("\t")[2] for line in lines if line.startswith("H-") and line.count("\t") == 2]
    assert set(" ".join(hypotheses).split()) <= {"zero", "one", "two", "three", "four"}
    assert "WER" in lines[-1]


def test_interactive_reads_units_from_a_line(mini, checkpoint, tmp_path):
    typed = tmp_path / "typed.txt"
    typed.write_text("0 0 1\n4 4 5 2 2 3\n")
    options = ["--input", typed, "--beam", 2, "--max-len-b", 10]
    done = fairseq_command("interactive", mini, "--path", checkpoint, *options, fresh=True)
    assert "S-0\t0 0 1\n" in done.stdout and "S-1\t4 4 5 2 2 3\n" in done.stdout
    assert len(re.findall(r"^D-\d\t", done.stdout, re.M)) == 2


def test_interactive_refuses_what_is_no_unit(mini, checkpoint, tmp_path):
    typed = tmp_path / "typed.txt"
    typed.write_text("7 eleven\n")
    done = fairseq_command("interactive", mini, "--path", checkpoint, "--input", typed, check=False)
    assert done.returncode != 0 and "not a line of units" in done.stderr


def test_eval_lm_scores_every_token(mini, checkpoint):
    options = ["--gen-subset", "test", "--max-tokens", 200]
    done = fairseq_command("eval-lm", mini, "--path", checkpoint, *options, fresh=True)
    tokens = sum(len(u.units) + 1 + len(u.text.split()) for u in make_utterances(11, "test-", seed=2))
    assert f"Evaluated {tokens:,} tokens" in done.stdout + done.stderr


def test_hydra_train_with_the_documented_config(mini, tmp_path):
    done = fairseq_command(
        "hydra-train",
        "--config-dir",
        ROOT / "sld_user_dir" / "config",
        "--config-name",
        "digits",
        f"task.data={mini}",
        f"common.user_dir={ROOT / 'sld_user_dir'}",
        "optimization.max_update=2",
        f"checkpoint.save_dir={tmp_path / 'ck'}",
        f"hydra.run.dir={tmp_path}",
        "dataset.max_tokens=200",
        fresh=True,
    )
    assert (tmp_path / "ck" / "checkpoint_last.pt").exists(), done.stdout + done.stderr


@pytest.mark.parametrize("command", ["train", "generate", "validate", "interactive", "eval-lm"])
def test_help_shows_our_options(command):
    extra = ["--criterion", "sld", "--arch", "joint_lm_tiny"] if command == "train" else []
    text = fairseq_command(command, *extra, "--help").stdout
    assert "--eval-wer" in text and "word error rate" in text
    if command == "train":
        assert "--kl-variant" in text and "KL divergence" in text


def test_works_when_the_package_was_imported_first(mini, tmp_path):
    arguments = [
        "fairseq-train",
        str(mini),
        "--user-dir",
        str(ROOT / "sld_user_dir"),
        "--task",
        "speech_unit_lm",
        *TRAIN_OPTIONS,
        "--criterion",
        "masked_ce",
        "--max-update",
        "1",
        "--save-dir",
        str(tmp_path),
    ]
    code = f"import sys, sld_user_dir; sys.argv = {arguments!r}; from fairseq_cli.train import cli_main; cli_main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "checkpoint_last.pt").exists()


# -- bad input: an error that names file, line and remedy, and exit status not 0 -------------------


def broken(tmp_path, mini, edit):
    """A copy of ``mini`` whose train.tsv went through ``edit(lines) -> lines`` (bytes)."""
    data = tmp_path / "data"
    shutil.copytree(mini, data)
    path = data / "train.tsv"
    path.write_bytes(b"\n".join(edit(path.read_bytes().split(b"\n"))))
    return data


def set_line(number, **columns):
    """An edit that replaces columns (id, units, text, speaker) of a line, counted from 1."""

    def edit(lines):
        values = dict(zip(lines[3].split(b"\t"), lines[number - 1].split(b"\t")))
        values.update({k.encode(): v for k, v in columns.items()})
        lines[number - 1] = b"\t".join(values.values())
        return lines

    return edit


def drop_text_column(lines):
    return lines[:3] + [b"\t".join(c for i, c in enumerate(line.split(b"\t")) if i != 2) for line in lines[3:]]


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (drop_text_column, "train.tsv:4: no column text"),
        (set_line(6, units=b"3 4 12"), "train.tsv:6: unit 12 is outside the vocabulary of 12"),
        (set_line(6, text=b" "), "train.tsv:6: empty transcript"),
        (set_line(6, id=b"train-0"), "train.tsv:6: duplicate id 'train-0', first on line 5"),
        (set_line(6, text=b"caf\xe9"), "train.tsv:6: byte 0xe9 is not UTF-8"),
        (set_line(6, units=b" ".join([b"1"] * 100)), "train.tsv:6: "),
    ],
)
def test_bad_manifest_stops_training_with_file_line_and_remedy(mini, tmp_path, edit, expected):
    data = broken(tmp_path, mini, edit)
    options = [*TRAIN_OPTIONS, "--criterion", "sld", "--max-update", 1, "--save-dir", tmp_path / "ck"]
    done = fairseq_command("train", data, *options, check=False)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert expected in last and "; " in last and "Error" in last


def test_units_of_another_kmeans_are_refused_by_name(mini, checkpoint, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(mini, data)
    other = make_provenance(kmeans="sha256:1")
    write_manifest(data / "test.tsv", make_utterances(3), other)
    done = generate(data, checkpoint, tmp_path, check=False)
    assert done.returncode != 0
    assert other.fingerprint in done.stderr and make_provenance().fingerprint in done.stderr
    assert "the checkpoint" in done.stderr


def test_another_vocabulary_is_refused(checkpoint, tmp_path):
    data = make_data(tmp_path / "data", test=3)
    text = (data / "dict.txt").read_text().replace("zero", "nil")
    (data / "dict.txt").write_text(text)
    done = generate(data, checkpoint, tmp_path, check=False)
    assert done.returncode != 0 and "vocabulary" in done.stderr
