"""`sld COMMAND`: the stages of the package on the command line, a thin front each.

A command's module holds its help (the docstring), its options (`CONFIGS`, dataclasses by destination), whether it shows
progress on standard error (`SHOWS_PROGRESS`), and `run(options)`, which returns an exit status, or None for 0. What all
commands share stands here: parsing, progress, and the one place where an error becomes a message and a status.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import re
import sys
from argparse import Namespace
from types import ModuleType
from typing import Any, NamedTuple, Optional, Sequence

from sld_user_dir.errors import InputError, opening_remedy, reason_of


class Command(NamedTuple):
    """A line of the overview."""

    name: str
    summary: str

    @property
    def module(self) -> str:
        """Where it stands; `import` is no name of a module."""
        name = self.name.replace("-", "_")
        return f"{__name__}.{'import_' if name == 'import' else name}"


STAGES = {
    "from recordings to units": (
        Command("audio", "list recordings, with transcripts and speakers, and say which are unusable"),
        Command("kmeans", "learn units: features and k-means"),
        Command("units", "recordings to a unit manifest"),
        Command("subwords", "learn subwords of units, and rewrite manifests in them"),
        Command("report", "how good units are: use, agreement with labels, stability"),
    ),
    "units that you have already": (
        Command("import", "units in any format of the field to a unit manifest"),
        Command("export", "a unit manifest in a format of the field"),
        Command("textless", "recordings to units by a textless-lib encoder"),
        Command("export-kmeans", "a k-means file to scikit-learn's form, and back"),
    ),
    "before training": (
        Command("vocab", "the joint vocabulary of a data directory"),
        Command("limit", "leave out what the model cannot hold"),
        Command("import-gpt2", "pretrained GPT-2 weights to a checkpoint that training starts from"),
        Command("import-hf", "a Hugging Face model that reads units, as a base and a checkpoint"),
    ),
    "training and decoding are fairseq's commands, with --user-dir sld_user_dir": (),
    "after decoding": (
        Command("score", "word and character error rates, and comparisons"),
        Command("ledger", "what became of every recording: the counts of all stages, each loss with its reason"),
        Command("sweep", "objectives by seeds by data from one plan, and one report with error bars"),
        Command("confidence", "learn how sure a checkpoint's words are, from a decoded set such as valid"),
        Command("word-times", "how far word times are from true ones"),
        Command("transcribe", "recordings to text by a trained model"),
        Command("view", "a page of recordings: waveform, units, surprise, words, hypotheses, sound"),
        Command("listen", "text while the speech still comes, from a recording or standard input"),
        Command("model-card", "a model card beside a checkpoint"),
        Command("export-gpt2", "a trained model as a Hugging Face GPT-2 directory"),
        Command("export-hf", "a trained backbone as a Hugging Face directory"),
    ),
}
COMMANDS = {command.name: command for commands in STAGES.values() for command in commands}
EXTRAS = {"transformers": "ssl", "submitit": "slurm"}
"""Packages that only some commands need, and the extra of this package that brings each."""


def overview() -> str:
    """The pipeline in order, a line a command."""
    lines = ["usage: sld COMMAND …        sld COMMAND --help tells its options", ""]
    for stage, commands in STAGES.items():
        lines += [stage, *(f"    {command.name:<14}{command.summary}" for command in commands)]
    return "\n".join(lines)


def parser_of(name: str) -> Any:
    """The parser of a command.

    Raises:
        InputError: no such command; names those that are spelt alike.
    """
    from simple_parsing import ArgumentParser, DashVariant

    module = _module(name)
    parser = ArgumentParser(
        prog=f"sld {name}", description=module.__doc__, add_option_string_dash_variants=DashVariant.DASH
    )
    for destination, kind in module.CONFIGS.items():
        parser.add_arguments(kind, dest=destination)
    return parser


def _module(name: str) -> ModuleType:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS)
        hint = f"did you mean {' or '.join(near)}?" if near else "sld alone lists the commands"
        raise InputError(name, "no such command", hint)
    return importlib.import_module(COMMANDS[name].module)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run `sld`; returns the exit status."""
    _print_every_character()
    words = list(sys.argv[1:] if argv is None else argv)
    prefix = f"sld {words[0]}" if words and words[0] in COMMANDS else "sld"
    try:
        try:
            return _run(words)
        finally:
            sys.stdout.flush()  # here, where a reader that has gone can be told from a fault
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print(f"{prefix}: interrupted", file=sys.stderr)
        return 130
    except (InputError, OSError, ModuleNotFoundError, MemoryError, RuntimeError) as error:
        said = _said(error)
        if said is None:  # a fault of the program, as is whatever else comes
            raise
        print(f"{prefix}: {said}", file=sys.stderr)
        return 1


def _print_every_character() -> None:
    r"""Have standard output show what its encoding lacks as an escape, such as `\u20ac`, rather than fail over it."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _run(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    name, *arguments = words
    options: Namespace = parser_of(name).parse_args(arguments)
    module = _module(name)
    if module.SHOWS_PROGRESS:
        show_progress()
    return module.run(options) or 0


def _said(error: Exception) -> Optional[str]:
    """What an error says to a user; None for a fault of the program, or the lack of a package that should be there."""
    if isinstance(error, (MemoryError, RuntimeError)):
        # torch's are RuntimeErrors: the first of a CPU, the second of a GPU
        lacking = isinstance(error, MemoryError) or re.search("can't allocate memory|out of memory", str(error))
        remedy = "take smaller batches, a smaller --beam where there is one, or a machine with more"
        return f"memory does not suffice ({reason_of(error)}); {remedy}" if lacking else None
    if isinstance(error, ModuleNotFoundError):
        extra = EXTRAS.get(str(error.name).partition(".")[0])
        return None if extra is None else f"{error.name} is not installed; pip install 'sld-user-dir[{extra}]'"
    if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
        return f"{error.filename2 or error.filename}: {error.strerror}; {opening_remedy(error)}"
    return str(error)


def show_progress() -> None:
    """Log INFO and above to standard error, with the time, whatever was set up before."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
