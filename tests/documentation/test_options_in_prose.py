"""Commands and options that stand between backticks in the prose exist, by the programs' own `--help`."""

import contextlib
import io
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from support.command_rules import FAIRSEQ, FULL_OPTIONS, HelpWasPrinted, check, check_fairseq, help_is_no_failure, load
from support.documents import PAGES, code_spans, cut, name_of
from support.miniature import ROOT

from sld_user_dir.commands import COMMANDS, parser_of

FOREIGN = {
    "--preserve_name": "textless-lib's",
    "--no-python": "torchrun's",
    "--kills": "the soak's, of the tests",
    "--inputs": "the fuzzing's, of the tests",
}
"""Options of other programs that pages mention, and whose they are."""

TRAIN_BACKBONE = "fairseq-train of a backbone"
"""fairseq shows an architecture's options only where it is chosen."""


@cache
def help_of(program: str) -> str:
    """What `--help` prints."""
    printed = io.StringIO()
    with help_is_no_failure(), contextlib.redirect_stdout(printed), contextlib.suppress(HelpWasPrinted):
        if program in COMMANDS:
            parser_of(program).parse_args(["--help"])
        elif program in FAIRSEQ:
            words = [*FULL_OPTIONS, "--optimizer", "adam", "--lr-scheduler", "polynomial_decay", "--scoring", "wer"]
            check_fairseq(program, [*words[: 4 if program != "fairseq-train" else 12], "--help"])
        elif program == TRAIN_BACKBONE:
            words = [word.replace("joint_lm_tiny", "joint_hf") for word in FULL_OPTIONS]
            check_fairseq("fairseq-train", [*words, "--help"])
        elif program.endswith(".sh"):
            done = subprocess.run([str(ROOT / program), "--help"], capture_output=True, text=True, check=True)
            printed.write(done.stdout)
        else:
            load(ROOT / program).main(["--help"])
    return printed.getvalue()


def has_option(text: str, option: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text) is not None


def options_in(span: str) -> list:
    """Options in a span of code; `--NAME-variant` stands for several, and is none."""
    return [word for word in re.findall(r"(?<!\S)--[a-zA-Z][\w-]*", span) if not re.match("--[A-Z]+-", word)]


def options_that_it_defines(page: Path) -> set:
    """Options of the dataclasses that a guide's code shows."""
    code = "".join(block.code for block in cut(page).blocks if block.language == "python")
    return {f"--{name.replace('_', '-')}" for name in re.findall(r"^    (\w+): [\w\[\]]+ = field\($", code, re.M)}


def programs_with_options() -> list:
    found = [*COMMANDS, *FAIRSEQ, TRAIN_BACKBONE, "scripts/librispeech.sh"]
    for path in sorted([*(ROOT / "scripts").glob("*.py"), *(ROOT / "benchmarks").glob("[a-z]*.py")]):
        if re.search(r"def main\(argv", path.read_text(encoding="utf-8")):
            found.append(path.relative_to(ROOT).as_posix())
    return found


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_options_in_the_prose_exist(page):
    options = {option for span in code_spans(page) for option in options_in(span)} - options_that_it_defines(page)
    texts = [help_of(program) for program in programs_with_options()]
    unknown = {o for o in options - FOREIGN.keys() if not any(has_option(text, o) for text in texts)}
    assert not unknown, name_of(page)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_commands_in_the_prose_exist_with_their_options(page):
    for span in code_spans(page):
        match = re.match(r"sld ([\w-]+)|(?:python )?((?:scripts|benchmarks)/\w+\.(?:py|sh))|(fairseq-[\w-]+)", span)
        program = match and next(filter(None, match.groups()))
        if not program or program == "COMMAND" or program == "fairseq-fixed":
            continue
        assert program in programs_with_options() or (ROOT / program).is_file(), f"{name_of(page)}: `{span}`"
        for option in set(options_in(span)) - options_that_it_defines(page):
            assert has_option(help_of(program), option), f"{name_of(page)}: `{span}`: no option {option}"
        if span.endswith("--help"):
            with help_is_no_failure():
                check(["python", *span.split()] if span.startswith("scripts/") else span.split())
