"""How a command that a page shows is checked: a rule for each program, mostly its real parser."""

import argparse
import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from sld_user_dir.commands import parser_of
from support.documents import Call
from support.miniature import ROOT

FAIRSEQ = {
    "fairseq-train": "get_training_parser",
    "fairseq-generate": "get_generation_parser",
    "fairseq-interactive": "get_interactive_generation_parser",
    "fairseq-eval-lm": "get_eval_lm_parser",
    "fairseq-validate": "get_validation_parser",
    "fairseq-preprocess": "get_preprocessing_parser",
}
"""Program to the function of `fairseq.options` that makes its parser."""


FULL_OPTIONS = [
    "--user-dir",
    "sld_user_dir",
    "--task",
    "speech_unit_lm",
    "--arch",
    "joint_lm_tiny",
    "--criterion",
    "sld",
]


PLACEHOLDERS = {
    "fairseq-train": {"…": FULL_OPTIONS, "DATA": ["manifests/digits"], "NAME": ["first"]},
    "fairseq-generate": {"DATA": ["manifests/digits"]},
    "fairseq-preprocess": {"DATA/dict.txt": ["manifests/digits/dict.txt"]},
    "torchrun": {"NODE": ["0"], "HOST": ["localhost"]},
    "sld": {
        "DATA": ["manifests/digits"],
        "DATA/test.tsv": ["manifests/digits/test.tsv"],
        "DATA/valid.tsv": ["manifests/digits/valid.tsv"],
    },
    "python": {"RECORDINGS": ["recordings"]},
    "sbatch": {},
}
"""What stands for a word in capitals, or for `…`, in the commands of a program; others are refused."""

CHAINS = {
    "README.md": {"sld", "fairseq-train", "fairseq-generate", "fairseq-interactive"},
    "docs/mixture.md": {"sld", "fairseq-train", "fairseq-generate", "fairseq-interactive", "fairseq-eval-lm"},
}
"""Page whose shell and Python blocks `tests/documentation/test_chains.py` executes, to the programs that take part."""


class HelpWasPrinted(SystemExit):
    """`--help` ended a parser; 0 is not among the failures."""


class Parsed(BaseException):
    """A program's parser has understood its words."""


def check_sld(words: list) -> str:
    if words:
        options = parser_of(words[0]).parse_args(words[1:])
        for config in vars(options).values():
            getattr(config, "validate", lambda: None)()
    return "parsed"


def check_fairseq(program: str, words: list) -> str:
    from fairseq import options

    sys.argv = [program, *words]
    parser = getattr(options, FAIRSEQ[program])()
    if program == "fairseq-preprocess":  # knows no task, and no model
        parser.parse_args(words)
    else:
        options.parse_args_and_arch(parser, words)
    return "parsed"


def check_make(words: list) -> str:
    subprocess.run(["make", "-n", *words], cwd=ROOT, check=True, capture_output=True)
    return "parsed"


def check_python(words: list) -> str:
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]), words[1]
        assert len(words) == 2, f"no rule for arguments of {words[1]}"
        return "found"
    path = ROOT / words[0]
    main = load(path).main
    if not main.__code__.co_argcount:
        assert len(words) == 1, f"{words[0]} takes no arguments"
        return "found"
    original = argparse.ArgumentParser.parse_args

    def parse(self, args=None, namespace=None):
        original(self, args, namespace)
        raise Parsed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed):
        patch.setattr(argparse.ArgumentParser, "parse_args", parse)
        main(words[1:])
    return "parsed"


def check_recipe(words: list) -> str:
    """Execute it with `--dry-run`, on empty folders."""
    with empty_corpus() as corpus:
        words = [str(corpus) if before == "--corpus" else word for before, word in zip(["", *words], words)]
        words += [] if "--corpus" in words else ["--corpus", str(corpus)]
        done = subprocess.run(
            [str(ROOT / "scripts" / "librispeech.sh"), *words, "--dry-run"],
            cwd=ROOT,
            env={**os.environ, "PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0 and "fairseq-train" in done.stdout, done.stderr
    return "executed with --dry-run"


def check_pytest(words: list) -> str:
    (markers,) = re.findall(
        r"^markers = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M | re.S
    )
    known = re.findall(r'"(\w+):', markers)
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", choices=known)
    parser.add_argument("-s", action="store_true")
    parser.add_argument("paths", nargs="*")
    for path in parser.parse_args(words).paths:
        assert (ROOT / path).exists(), path
    return "paths and markers checked"


def check_torchrun(words: list) -> str:
    from torch.distributed.run import get_args_parser

    arguments = get_args_parser().parse_args(words)
    assert arguments.no_python, "torchrun needs --no-python for a console program"
    check_fairseq(arguments.training_script, arguments.training_script_args)
    return "parsed"


def check_srun(words: list) -> str:
    check_fairseq(words[0], words[1:])
    return "parsed, what srun starts"


def check_sbatch(words: list) -> str:
    script = words.index("scripts/train.sbatch")
    assert words[:script:2] == ["--nodes"], f"no rule for {words[:script]}"
    subprocess.run(["bash", "-n", str(ROOT / words[script])], check=True)
    check_fairseq("fairseq-train", [*FULL_OPTIONS[:4], *words[script + 1 :]])
    return "parsed, what the job trains"


def check_pip(words: list) -> str:
    from pip._internal.commands import create_command

    assert words[0] == "install", f"no rule for pip {words[0]}"
    create_command(words[0]).parse_args(words[1:])
    return "parsed"


def check_git(words: list) -> str:
    shown = " ".join(words)
    assert re.fullmatch(r"clone https://github\.com/[\w-]+/[\w-]+", shown), f"no rule for git {shown}"
    return "address looked at; not fetched"


RULES = {
    "sld": check_sld,
    **{name: lambda words, name=name: check_fairseq(name, words) for name in FAIRSEQ},
    "make": check_make,
    "python": check_python,
    "scripts/librispeech.sh": check_recipe,
    "pytest": check_pytest,
    "torchrun": check_torchrun,
    "srun": check_srun,
    "sbatch": check_sbatch,
    "pip": check_pip,
    "git": check_git,
}


def check(words: list) -> str:
    """Check a command by the rule of its program; says how."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            return RULES[words[0]](words[1:])
        except HelpWasPrinted:
            return "help printed"


@contextlib.contextmanager
def help_is_no_failure():
    """Within it, parsers that print their help raise `HelpWasPrinted`, and wrong words a `ValueError` that says why."""

    def leave(self, status=0, message=None):
        raise HelpWasPrinted(status) if not status else ValueError(message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "exit", leave)
        patch.setattr(sys, "argv", ["pytest"])
        yield


@contextlib.contextmanager
def empty_corpus():
    with tempfile.TemporaryDirectory() as folder:
        for name in ("train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "dev-other"):
            (Path(folder) / name).mkdir()
        for name in ("test-clean", "test-other"):
            (Path(folder) / name).mkdir()
        yield Path(folder)


@cache
def load(path: Path):
    """A program of scripts/ or benchmarks/ as a module, as Python would run it: its folder is looked into first."""
    sys.path.insert(0, str(path.parent))
    before = list(sys.path)
    try:
        spec = importlib.util.spec_from_file_location(f"shown_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path[:] = [entry for entry in before if entry != str(path.parent)]


def substituted(call: Call) -> list:
    """The words behind the program, placeholders replaced."""
    table = PLACEHOLDERS.get(call.program, {})
    table = {**PLACEHOLDERS["fairseq-train"], **table} if call.program in ("torchrun", "srun", "sbatch") else table
    words = [new for word in call.words[1:] for new in table.get(word, [word])]
    left = [word for word in words if word == "…" or re.fullmatch(r"[A-Z][A-Z_]+(/.*)?", word)]
    assert not left, f"{call}: no rule for {left}; see PLACEHOLDERS"
    return words
