"""`sld`: the overview, help, errors and exit statuses that all commands share."""

import os
import re
import subprocess
import sys
import textwrap

import pytest
from support.commands import sld
from support.miniature import ROOT, make_data

from sld_user_dir import commands
from sld_user_dir.commands import COMMANDS, main, overview

# a call of each command that cannot work, and what must be said of it
BAD_INPUT = {
    "audio": (["--root", "NOWHERE", "--out", "OUT"], "no recordings found; check --root"),
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
    "transcribe": (["--checkpoint", "NOWHERE", "x.wav"], "no such checkpoint; train one with fairseq-train"),
    "model-card": (["--checkpoint", "NOWHERE", "--data", "NOWHERE"], "NOWHERE"),
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


def test_a_fault_of_the_program_keeps_its_traceback(tmp_path, monkeypatch):
    data = make_data(tmp_path, train=3)
    monkeypatch.setattr("sld_user_dir.commands.vocab.build_vocabulary", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sld("vocab", "--data", data)


def test_interruption_is_said_plainly(tmp_path, monkeypatch, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("sld_user_dir.commands.vocab.build_vocabulary", interrupt)
    assert sld("vocab", "--data", tmp_path) == 130
    assert "sld vocab: interrupted" in capsys.readouterr().err


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


def test_logging_of_progress_is_the_commands_choice():
    shown = {name for name in COMMANDS if commands._module(name).SHOWS_PROGRESS}
    assert {"audio", "kmeans", "units"} <= shown and not {"score", "transcribe"} & shown
