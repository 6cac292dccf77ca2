"""`sld`: the overview, help, errors and exit statuses that all commands share."""

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import soundfile
import torch
from support.commands import sld
from support.miniature import ROOT

from sld_user_dir import commands
from sld_user_dir.commands import COMMANDS, main, overview
from sld_user_dir.manifests.audio_manifest import Recording, write_audio_manifest

PYPROJECT = ROOT / "pyproject.toml"

# a call of each command that cannot work, and what must be said of it
BAD_INPUT = {
    "audio": (["--root", "NOWHERE", "--out", "OUT"], "no such folder; check --root"),
    "kmeans": (["--audio", "NOWHERE", "--out", "OUT"], "check the path"),
    "units": (["--audio", "NOWHERE", "--kmeans", "NOWHERE", "--out", "OUT"], "NOWHERE"),
    "subwords": (["--model", "OUT", "--train", "NOWHERE"], "check the path"),
    "report": (["--units", "NOWHERE"], "check the path"),
    "import": (["--units", "NOWHERE", "--out", "OUT"], "check the path"),
    "export": (["--manifest", "NOWHERE", "--out", "OUT", "--format", "textless"], "check the path"),
    "textless": (["--audio", "NOWHERE", "--out", "OUT", "--dense-model", "x", "--num-units", "9"], "check the path"),
    "export-kmeans": (["--out", "OUT"], "give either --kmeans"),
    "vocab": (["--data", "NOWHERE"], "check the path"),
    "limit": (["--data", "NOWHERE"], "build it with"),
    "import-gpt2": (["--gpt2", "NOWHERE", "--data", "NOWHERE", "--out", "OUT"], "build it with"),
    "score": ([], "give either --generate"),
    "ledger": (["NOWHERE"], "no such folder; name one in which stages of sld wrote"),
    "confidence": (["NOWHERE", "--manifest", "NOWHERE", "--checkpoint", "NOWHERE"], "check the path"),
    "word-times": (["NOWHERE", "--references", "NOWHERE"], "check the path"),
    "sweep": (["NOWHERE"], "check the path"),
    "transcribe": (["--checkpoint", "NOWHERE", "x.wav"], "no such checkpoint; train one with fairseq-train"),
    "model-card": (["--checkpoint", "NOWHERE", "--data", "NOWHERE"], "NOWHERE"),
    "import-hf": (["--hf-model", ".", "--data", "NOWHERE", "--out", "OUT"], "give a directory of save_pretrained"),
    "export-hf": (["--checkpoint", "NOWHERE", "--data", "NOWHERE", "--out", "OUT"], "NOWHERE"),
    "listen": (["NOWHERE", "x.wav"], "no such checkpoint; train one with fairseq-train"),
    "view": (["NOWHERE", "x.wav"], "no such checkpoint; train one with fairseq-train"),
    "export-gpt2": (["--checkpoint", "NOWHERE", "--data", "NOWHERE", "--out", "OUT"], "NOWHERE"),
}


def test_overview_shows_every_command_in_the_order_of_the_pipeline(capsys):
    assert sld("--help") == 0 and main([]) == 0
    text = capsys.readouterr().out
    assert text == (overview() + "\n") * 2
    places = [text.index(f"    {name} ") for name in ("audio", "kmeans", "units", "vocab", "score", "transcribe")]
    assert places == sorted(places)
    assert all(re.search(rf"^    {name} +\w", text, re.M) for name in COMMANDS)


def test_overview_costs_little_and_loads_no_library():
    code = (
        "import sys, time; from sld_user_dir.commands import main; main([]);"
        "print(time.process_time(), {'torch', 'fairseq', 'faiss', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    seconds, loaded = done.stdout.splitlines()[-1].split(" ", 1)
    assert float(seconds) < 0.5 and loaded == "set()"


def test_help_of_no_command_loads_fairseq():
    code = "import sys; from sld_user_dir.commands import COMMANDS, parser_of; [parser_of(name) for name in COMMANDS];"
    code += "print('fairseq' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "False\n"


def test_installed_program_and_module_are_the_same():
    program = os.path.join(os.path.dirname(sys.executable), "sld")
    outputs = [
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
        for command in ([program], [sys.executable, "-m", "sld_user_dir"])
    ]
    assert outputs == [overview() + "\n"] * 2


def test_every_module_is_a_command():
    modules = {path.stem for path in (ROOT / "sld_user_dir" / "commands").glob("*.py")} - {"__init__"}
    assert modules == {command.module.rsplit(".", 1)[1] for command in COMMANDS.values()}


def test_unknown_command_names_its_neighbours(capsys):
    assert sld("kmean") == 1
    assert capsys.readouterr().err == "sld: kmean: no such command; did you mean kmeans?\n"
    assert sld("zzz") == 1
    assert "sld alone lists the commands" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_option(name, capsys):
    with pytest.raises(SystemExit) as ended:
        sld(name, "--help")
    text = capsys.readouterr().out
    assert ended.value.code == 0 and text.startswith(f"usage: sld {name} ")
    assert f"    sld {name} " in text  # an example
    options = re.split(r"\n  (?=--)", text)[1:]
    assert options
    for option in options:
        described = " ".join(option.split("(default")[0].split()[2:])
        assert re.search(r"[a-z]{3}", described), option


@pytest.mark.parametrize("name", COMMANDS)
def test_bad_input_is_one_line_with_a_remedy_and_status_1(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments, remedy = BAD_INPUT[name]
    assert sld(name, *arguments) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sld ")]
    assert len(lines) == 1 and lines[0].startswith(f"sld {name}: ") and remedy in lines[0]
    assert not (tmp_path / "OUT").exists()


BROKEN = {"garbage": bytes(range(256)) * 20, "empty": b"", "text": b"this is\nno table\n"}
READS = {
    "audio": ["--root", ".", "--out", "OUT", "--table", "FILE"],
    "kmeans": ["--audio", "FILE", "--out", "OUT"],
    "units": ["--audio", "audio.tsv", "--kmeans", "FILE", "--out", "OUT"],
    "subwords": ["--model", "FILE", "--encode", "mini/train.tsv", "--out-dir", "OUT"],
    "report": ["--units", "mini/train.tsv", "--alignment", "FILE"],
    "import": ["--units", "FILE", "--out", "OUT"],
    "export": ["--manifest", "FILE", "--out", "OUT", "--format", "textless"],
    "textless": ["--audio", "FILE", "--out", "OUT", "--dense-model", "x", "--num-units", "9"],
    "export-kmeans": ["--kmeans", "FILE", "--out", "OUT"],
    "vocab": ["--data", "mini", "--split", "FILE"],
    "limit": ["--data", "mini", "--split", "FILE"],
    "import-gpt2": ["--gpt2", "FILE", "--data", "mini", "--out", "OUT"],
    "score": ["FILE"],
    "confidence": ["FILE", "--manifest", "mini/valid.tsv", "--checkpoint", "a.wav", "--out", "OUT"],
    "word-times": ["FILE", "--references", "FILE"],
    "sweep": ["FILE"],
    "model-card": ["--checkpoint", "FILE", "--data", "mini", "--out", "OUT"],
    "export-gpt2": ["--checkpoint", "FILE", "--data", "mini", "--out", "OUT"],
}
"""A call of each command that reads FILE; `transcribe` is in tests/hub, since it loads fairseq."""


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("name", READS)
def test_a_broken_file_is_named_with_a_remedy(name, kind, mini, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(mini, "mini")
    rate, seconds = 8000, np.arange(8000) / 8000
    soundfile.write("a.wav", np.sin(2 * np.pi * 200 * seconds), rate)
    write_audio_manifest(tmp_path / "audio.tsv", [Recording("a", tmp_path / "a.wav", rate, rate)], tmp_path)
    (tmp_path / "FILE").write_bytes(BROKEN[kind])
    (tmp_path / "mini" / "FILE.tsv").write_bytes(BROKEN[kind])
    assert sld(name, *READS[name]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sld ")]
    assert len(lines) == 1 and re.match(rf"sld {name}: .+; .+", lines[0])
    assert "FILE" in lines[0] or "--alignment" in lines[0] or "textless-lib" in lines[0]
    assert not (tmp_path / "OUT").exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("import-gpt2", ["--gpt2", "FILE", "--data", "mini", "--out", "OUT"]),
        ("import-hf", ["--hf-model", "FILE", "--data", "mini", "--out", "OUT"]),
        ("vocab", ["--data", "mini", "--gpt2", "FILE"]),
        ("vocab", ["--data", "mini", "--text-tokenizer", "hf", "--hf-model", "FILE"]),
        ("kmeans", ["--audio", "audio.tsv", "--out", "OUT", "--features", "./FILE"]),
    ],
)
def test_no_hub_is_asked_for_a_file(name, options, mini, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(mini, "mini")
    soundfile.write("a.wav", np.zeros(8000), 8000)
    write_audio_manifest(tmp_path / "audio.tsv", [Recording("a", tmp_path / "a.wav", 8000, 8000)], tmp_path)
    (tmp_path / "FILE").write_text("no model")
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **_: asked.append(arguments))
    assert sld(name, *options) == 1
    assert "FILE" in capsys.readouterr().err and not asked


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("audio", ["--pattern", "("], "--pattern (: no regular expression"),
        ("audio", ["--pattern", r"(?P<speed>\w)"], r"--pattern (?P<speed>\w): a group speed, which no name of a file"),
        ("audio", ["--speeds", "0"], "--speeds 0: a speed is a factor above 0"),
        ("audio", ["--warps", "3"], "--warps 3: a warp is a factor from 0.5 to 2"),
        ("audio", ["--workers", "0"], "--workers 0: no threads"),
        ("audio", ["--shards", "0"], "--shards 0: no part to work on"),
        ("audio", ["--min-seconds", "nan"], "--min-seconds nan: no length is usable"),
        ("audio", ["--min-seconds", "2", "--max-seconds", "1"], "--min-seconds 2 --max-seconds 1: no length is usable"),
        ("kmeans", ["--readers", "0"], "--readers 0: no threads"),
        ("kmeans", ["--max-seconds", "nan"], "--min-seconds 0.1 --max-seconds nan: no length is usable"),
        ("kmeans", ["--batch-seconds", "0"], "--batch-seconds 0: no audio at a time"),
        ("kmeans", ["--window-seconds", "nan"], "--window-seconds nan: no audio at a time"),
        ("kmeans", ["--chunk-seconds", "nan"], "--chunk-seconds nan: pieces of no length"),
        ("kmeans", ["--context-seconds", "nan"], "--context-seconds nan: less than no context"),
        ("textless", ["--min-seconds", "nan"], "--min-seconds nan --max-seconds 1800: no length is usable"),
    ],
)
def test_an_option_that_cannot_be_is_named_with_a_remedy(name, options, said, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    given = ["--root", tmp_path, "--allow-missing-text"] if name == "audio" else ["--audio", tmp_path / "none"]
    assert sld(name, *given, "--out", tmp_path / "out.tsv", *options) == 1
    assert re.search(rf"^sld {name}: {re.escape(said)}.*; .+", capsys.readouterr().err, re.M)


KMEANS = ("kmeans", "--audio", "none", "--out", "OUT")


@pytest.mark.parametrize(
    "words",
    [
        *(("report", "--kmeans", "none", "--audio", "none", "--recordings", number) for number in (0, -1)),
        ("score", "--references", "none", "--hypotheses", "none", "--worst", -1),
        *(("score", "--references", "none", "--hypotheses", "none", "--max-len", number) for number in (0, -1)),
        ("export-kmeans", "--kmeans", "none", "--out", "OUT", "--check", -1),
        *((*KMEANS, option, number) for option in ("--memory-gib", "--oversample") for number in (0, "nan", "inf")),
        (*KMEANS, "--tolerance", "nan"),
        (*KMEANS, "--seed", -1),
        *(("sweep", "none", option, 0) for option in ("--jobs", "--threads", "--tries", "--minutes", "--memory-gb")),
        ("sweep", "none", "--gpus", -1),
        *(("import", "--units", "none", "--out", "OUT", "--num-units", number) for number in (0, -1)),
        *(("import", "--units", "none", "--out", "OUT", "--frame-rate-hz", number) for number in (-50, "nan")),
    ],
)
def test_numbers_of_nothing_are_refused_before_anything_is_read(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert sld(*words) == 1
    said = capsys.readouterr().err
    assert re.search(rf"^sld {words[0]}: (--\S+ \S+ )?{words[-2]} {words[-1]}.*: .+; .+", said, re.M)


@pytest.mark.parametrize("option", ["--parallel", "--minutes", "--memory-gb", "--cpus"])
def test_shards_that_nothing_could_run_are_refused(option, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    given = ["--root", tmp_path, "--allow-missing-text", "--out", tmp_path / "out.tsv"]
    assert sld("audio", *given, option, 0) == 1
    assert f"sld audio: {option} 0: no shard can run with this; take 1 or more\n" in capsys.readouterr().err


def test_a_folder_in_the_place_of_an_output_is_named(mini, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert sld("subwords", "--train", mini / "train.tsv", "--model", tmp_path / "out", "--num-pieces", 14) == 1
    assert f"sld subwords: {tmp_path}/out: Is a directory; check the path" in capsys.readouterr().err


def raising(monkeypatch, error):
    """Let `sld vocab` raise."""

    def fail(*args):
        raise error

    monkeypatch.setattr("sld_user_dir.commands.vocab.build_vocabulary", fail)


@pytest.mark.parametrize("kind", [ZeroDivisionError, ValueError, TypeError, RuntimeError, ModuleNotFoundError])
def test_a_fault_of_the_program_keeps_its_traceback(kind, tmp_path, monkeypatch):
    raising(monkeypatch, kind("of ours"))
    with pytest.raises(kind, match="of ours"):
        sld("vocab", "--data", tmp_path)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("kmeans --audio a.tsv --out km.npz --seed 99999999999", "--seed 99999999999: more than FAISS can hold"),
        ("kmeans --audio a.tsv --out km.npz --window-seconds inf", "--window-seconds inf: no audio at a time"),
        ("units --audio a.tsv --kmeans km.npz --out u.tsv --batch-seconds nan", "--batch-seconds nan: no audio at a"),
        ("audio --root wav --out a.tsv --shards 99999999999", "--shards 99999999999: more files than a folder should"),
        (
            "export-kmeans --kmeans km.npz --out km.bin --check 99999999999",
            "--check 99999999999: more than 1000000 fra",
        ),
        ("import --units u --audio a.tsv --out u.tsv --sample-rate 0", "--sample-rate 0: no such thing"),
        ("vocab --data {mini} --text-tokenizer sentencepiece --text-vocab-size 99999999999", "--text-vocab-size"),
        ("subwords --train {mini}/train.tsv --model m --num-pieces 99999999999", "--num-pieces 99999999999: Sentence"),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(command, said, mini, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wav").mkdir()
    soundfile.write("wav/a.wav", np.zeros(8000), 8000)
    assert sld(*command.format(mini=mini).split()) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 745. GiB for an array"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1599999999984 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    ],
    ids=["numpy", "torch", "CUDA"],
)
def test_a_lack_of_memory_is_said_with_what_helps(error, tmp_path, monkeypatch, capsys):
    raising(monkeypatch, error)
    assert sld("vocab", "--data", tmp_path) == 1
    said = f"sld vocab: memory does not suffice ({error}); take smaller batches"
    assert said in capsys.readouterr().err


def test_what_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch, capsys):
    raising(monkeypatch, ModuleNotFoundError("No module named 'transformers'", name="transformers"))
    assert sld("vocab", "--data", tmp_path) == 1
    said = "sld vocab: transformers is not installed; pip install 'sld-user-dir[ssl]'\n"
    assert capsys.readouterr().err.endswith(said)
    extras = re.search(r"^\[project.optional-dependencies\]\n(.*?)\n\n", PYPROJECT.read_text(), re.M | re.S)[1]
    for package, extra in commands.EXTRAS.items():
        assert re.search(rf'^{extra} = \["{package}[>=]', extras, re.M)


def test_interruption_is_said_plainly(tmp_path, monkeypatch, capsys):
    raising(monkeypatch, KeyboardInterrupt())
    assert sld("vocab", "--data", tmp_path) == 130
    assert capsys.readouterr().err.endswith("sld vocab: interrupted\n")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    code = textwrap.dedent(f"""
        import sys
        from sld_user_dir import commands
        from sld_user_dir.commands import vocab
        vocab.run = lambda options: [print("x" * 100) for _ in range(10_000)] and None
        sys.exit(commands.main(["vocab", "--data", {str(tmp_path)!r}]))
    """)
    pipe = ["bash", "-c", '"$0" -c "$1" | head -1', sys.executable, code]
    done = subprocess.run(pipe, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout == "x" * 100 + "\n" and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["", "vocab --help"])
def test_a_reader_that_has_gone_is_no_error(words):
    pipe = f'"$0" -m sld_user_dir {words} | true'
    done = subprocess.run(["bash", "-c", pipe, sys.executable], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(
    "encoding, errors, text, shown",
    [
        ("ascii", "strict", "3 € …", rb"3 \u20ac \u2026"),
        ("latin-1", "strict", "é €", b"\xe9 " + rb"\u20ac"),
        ("utf-8", "strict", "t7\udce9 €", rb"t7\udce9 " + "€".encode()),
        ("utf-8", "surrogateescape", "t7\udce9", b"t7\xe9"),
    ],
)
def test_what_standard_output_cannot_show_is_an_escape(encoding, errors, text, shown, tmp_path, monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr("sld_user_dir.commands.vocab.run", lambda options: print(text))
    assert sld("vocab", "--data", tmp_path) == 0
    assert output.buffer.getvalue() == shown + b"\n"


def test_the_overview_where_only_ascii_is_shown():
    program = [sys.executable, "-m", "sld_user_dir"]
    ascii_alone = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(program, capture_output=True, cwd=ROOT, env=ascii_alone, check=True)
    assert done.stdout.decode() == overview().replace("…", r"\u2026") + "\n" and done.stderr == b""


def test_logging_of_progress_is_the_commands_choice():
    shown = {name for name in COMMANDS if commands._module(name).SHOWS_PROGRESS}
    assert {"audio", "kmeans", "units"} <= shown and not {"score", "transcribe"} & shown
