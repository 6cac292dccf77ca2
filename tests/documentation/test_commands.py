"""Every command in README, CONTRIBUTING and docs works: executed here, by another test, or parsed by its real parser.

How the commands are found: bash itself runs each shell block in an empty folder where the programs of `RULES` only
note how they were called (`support.documents.Shell`). A program without a rule, a word that its rule refuses and any
complaint of bash are failures, so that nothing is left out in silence.

Executed, as they stand but for `SHORTER`, in one miniature (`test_the_chain_of_…`): README from recordings to a
transcript, mixture.md from vocabulary to exported units, and the Python code of README, mixture.md and "From Python" of
interop.md. Executed by other tests: `ELSEWHERE`. Everything else is parsed, and Python code is compiled with its
imports resolved.
"""

import argparse
import ast
import contextlib
import importlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.documents import PAGES, Call, Shell, blocks_of, code_spans, cut, name_of
from support.miniature import ROOT, WORDS

from sld_user_dir.commands import COMMANDS, parser_of

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
    "sld": {"DATA": ["manifests/digits"], "DATA/test.tsv": ["manifests/digits/test.tsv"]},
    "python": {"RECORDINGS": ["recordings"]},
    "sbatch": {},
}
"""What stands for a word in capitals, or for `…`, in the commands of a program; others are refused."""
ELSEWHERE = {
    "docs/interop.md": ("tests/interop/test_worked_example.py", "worked example"),
    "docs/guides/add_a_loss_term.md": ("tests/losses/test_add_a_loss_term.py", None),
    "docs/guides/add_an_encoder.md": ("tests/features/test_add_an_encoder.py", None),
    "docs/guides/add_a_format.md": ("tests/interop/test_add_a_format.py", None),
}
"""Page to the test that executes its code: all of it, or what stands between two comments of this name."""
SHORTER = {
    "fairseq-train": ["--max-update", "3", "--num-workers", "0", "--no-epoch-checkpoints", "--cpu"],
    "fairseq-generate": ["--max-len-b", "6", "--cpu"],
    "fairseq-interactive": ["--max-len-b", "6", "--cpu"],
    "fairseq-eval-lm": ["--num-workers", "0", "--cpu"],
}
"""What the miniature adds at the end of a program's words."""
CHAINS = {
    "README.md": {"sld", "fairseq-train", "fairseq-generate", "fairseq-interactive"},
    "docs/mixture.md": {"sld", "fairseq-train", "fairseq-generate", "fairseq-interactive", "fairseq-eval-lm"},
}
"""Page whose shell and Python blocks are executed in order, to the programs that take part."""


class Parsed(BaseException):
    """A program's parser has understood its words."""


# -- rules: each takes the words behind the program, and says how it checked them ---------------------------
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
    assert arguments.no_python
    check_fairseq(arguments.training_script, arguments.training_script_args)
    return "parsed"


def check_srun(words: list) -> str:
    check_fairseq(words[0], words[1:])
    return "parsed, what srun starts"


def check_sbatch(words: list) -> str:
    script = words.index("scripts/train.sbatch")
    assert words[:script:2] == ["--nodes"]
    subprocess.run(["bash", "-n", str(ROOT / words[script])], check=True)
    check_fairseq("fairseq-train", [*FULL_OPTIONS[:4], *words[script + 1 :]])
    return "parsed, what the job trains"


def check_pip(words: list) -> str:
    from pip._internal.commands import create_command

    assert words[0] == "install"
    create_command(words[0]).parse_args(words[1:])
    return "parsed"


def check_git(words: list) -> str:
    assert words[0] == "clone" and re.fullmatch(r"https://github\.com/[\w-]+/[\w-]+", words[1]) and len(words) == 2
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


class HelpWasPrinted(SystemExit):
    """`--help` ended a parser; 0 is not among the failures."""


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
    import tempfile

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


@pytest.fixture(scope="module")
def calls(tmp_path_factory) -> list:
    """All calls of all shell blocks."""
    folder = tmp_path_factory.mktemp("shell")
    shell = Shell(folder, [name for name in RULES if "/" not in name])
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(folder / "bin" / "python")
    digits = folder / "manifests" / "digits"
    digits.mkdir(parents=True)
    (digits / "train.tsv").write_text("for cp of mixture.md\n")
    recipe = folder / "runs" / "librispeech"  # what librispeech.md counts by awk and grep
    (recipe / "units").mkdir(parents=True)
    (recipe / "units" / "train_all.tsv").write_text("# header\nid\tunits\ttext\na\t1 2 3\tx\nb\t4 5\ty\n")
    (recipe / "sld").mkdir()
    (recipe / "sld" / "train.log").write_text('{"wps": "12.5"}\n')
    return [call for block in blocks_of("sh") for call in shell.run(block, block.code)]


def substituted(call: Call) -> list:
    """The words behind the program, placeholders replaced."""
    table = PLACEHOLDERS.get(call.program, {})
    table = {**PLACEHOLDERS["fairseq-train"], **table} if call.program in ("torchrun", "srun", "sbatch") else table
    words = [new for word in call.words[1:] for new in table.get(word, [word])]
    left = [word for word in words if word == "…" or re.fullmatch(r"[A-Z][A-Z_]+(/.*)?", word)]
    assert not left, f"{call}: no rule for {left}; see PLACEHOLDERS"
    return words


def executed_elsewhere(block) -> bool:
    test, part = ELSEWHERE.get(name_of(block.page), (None, None))
    if test is None or (part is None and block.language != "python"):
        return False
    if part is None:
        return True
    lines = block.page.read_text(encoding="utf-8").splitlines()
    return lines.index(f"<!-- {part} -->") < block.line < lines.index(f"<!-- /{part} -->")


def is_executed(call: Call) -> bool:
    return call.program in CHAINS.get(name_of(call.block.page), ()) or executed_elsewhere(call.block)


def test_every_command_is_executed_or_parsed(calls):
    how, wrong = Counter(), []
    for call in calls:
        with help_is_no_failure():
            try:
                checked = check([call.program, *substituted(call)])
                how[f"{checked}; executed" if is_executed(call) else checked] += 1
            except (Exception, pytest.fail.Exception) as error:  # all of them are listed, not the first alone
                wrong.append(f"{call}\n    {error!r}")
    print(f"{len(calls)} commands in {len({call.block for call in calls})} blocks: {dict(how)}")
    assert not wrong, "\n".join(wrong)
    assert len(calls) > 80 and how["parsed; executed"] >= 25


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("sld score results/generate-test.txt --manifest a.tsv", "unrecognized arguments"),
        ("sld scor --generate a", "no such command"),
        ("fairseq-train DATA … --kl-wieght 1", "unrecognized arguments"),
        ("fairseq-train DATA … --kl-variant theirs", "invalid choice"),
        ("fairseq-train OTHER …", "no rule for"),
        ("python scripts/update_readme.py --demonstration x", "unrecognized arguments"),
        ("make everything", "non-zero exit status"),
        ("pytest -m quick", "invalid choice"),
        ("pip uninstall x", "install"),
        ("scripts/librispeech.sh --epoch 2", "unknown option"),
        ("torchrun --no-python fairseq-train DATA … --bem 5", "unrecognized arguments"),
    ],
)
def test_a_wrong_command_is_found(tmp_path, code, complaint):
    """The rules are no formality: each says what is wrong with a command of its program."""
    shell = Shell(tmp_path, [name for name in RULES if "/" not in name])
    (call,) = shell.run(blocks_of("sh")[0], code)
    with help_is_no_failure(), pytest.raises(Exception, match=complaint):
        check([call.program, *substituted(call)])


@pytest.mark.parametrize(
    "code", ["wget x", "sld audio |& nosuch", "scripts/nosuch.sh", "sld $nosuch", "if true; then sld"]
)
def test_what_bash_cannot_run_is_found(tmp_path, code):
    with pytest.raises(AssertionError, match=r"README\.md:\d+"):
        Shell(tmp_path, ["sld"]).run(blocks_of("sh")[0], code)


def test_bash_expands_what_the_blocks_use(tmp_path):
    code = 'for i in 1 2; do sld "a b" $i \\\n  --x; done\necho hey | sld interactive  # a comment'
    first, second, third = Shell(tmp_path, ["sld"]).run(blocks_of("sh")[0], code)
    assert [first.words, second.words] == [["sld", "a b", "1", "--x"], ["sld", "a b", "2", "--x"]]
    assert (third.words, third.stdin, first.stdin) == (["sld", "interactive"], "hey", "")


# -- names of commands and options in the prose ---------------------------
FOREIGN = {"--preserve_name": "textless-lib's", "--no-python": "torchrun's"}
"""Options of other programs that pages mention, and whose they are."""


@cache
def help_of(program: str) -> str:
    """What `--help` prints."""
    printed = io.StringIO()
    with help_is_no_failure(), contextlib.redirect_stdout(printed), contextlib.suppress(HelpWasPrinted):
        if program in COMMANDS:
            parser_of(program).parse_args(["--help"])
        elif program.startswith("fairseq-"):
            words = [*FULL_OPTIONS, "--optimizer", "adam", "--lr-scheduler", "polynomial_decay", "--scoring", "wer"]
            check_fairseq(program, [*words[: 4 if program != "fairseq-train" else 12], "--help"])
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
    found = [*COMMANDS, *FAIRSEQ, "scripts/librispeech.sh"]
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


# -- Python code ---------------------------
@pytest.mark.parametrize("block", blocks_of("python"), ids=str)
def test_python_compiles_and_its_imports_resolve(block):
    from sld_user_dir.hub.model import Model

    tree = ast.parse(block.code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "sld_user_dir":
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "model":
            assert hasattr(Model, node.attr) or node.attr == "provenance", f"{block}: model.{node.attr}"


def test_tests_that_execute_pages_are_there():
    for page, (test, _) in ELSEWHERE.items():
        text = (ROOT / test).read_text(encoding="utf-8")
        assert Path(page).name in text, f"{test} does not name {page}"


# -- execution ---------------------------
def make_recordings(folder: Path) -> None:
    """A minute of tones, one a word, with transcripts beside them, and one more recording."""
    rng = np.random.default_rng(0)
    (folder / "recordings").mkdir()
    for i in range(40):
        words = [WORDS[k] for k in rng.integers(len(WORDS), size=rng.integers(4, 7))]
        tones = [np.sin(2 * np.pi * 250 * 1.5 ** WORDS.index(word) * np.arange(6400) / 16000) for word in words]
        noise = rng.normal(scale=0.02, size=6400 * len(words))
        soundfile.write(folder / "recordings" / f"r{i}.wav", 0.3 * np.concatenate(tones) + noise, 16000)
        (folder / "recordings" / f"r{i}.txt").write_text(" ".join(words) + "\n")
    soundfile.write(folder / "a.wav", 0.1 * rng.normal(size=12000), 8000)


def make_digits(folder: Path) -> None:
    """manifests/digits, with a few rows a split."""
    digits = folder / "manifests" / "digits"
    digits.mkdir(parents=True)
    for path in (ROOT / "manifests" / "digits").iterdir():
        if path.is_file() and path.suffix != ".tsv":
            (digits / path.name).write_bytes(path.read_bytes())
        if path.suffix != ".tsv":
            continue
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        header = [line for line in lines if line.startswith("# ")]
        rows = lines[len(header) : len(header) + (60 if path.stem == "train" else 8)]
        (digits / path.name).write_text("".join(header + rows), encoding="utf-8")


def steps_of(page: str, calls: list) -> list:
    """A page's blocks in order: programs that take part, and Python code."""
    steps = []
    for block in cut(ROOT / page).blocks:
        if block.language == "python":
            steps.append({"code": block.code})
        for call in (call for call in calls if call.block == block and call.program in CHAINS[page]):
            steps.append({"words": [*call.words, *SHORTER.get(call.program, [])], "stdin": call.stdin + "\n"})
    return steps


def from_python() -> dict:
    """The block of interop.md that shows a model's methods."""
    text = (ROOT / "docs" / "interop.md").read_text(encoding="utf-8").split("## From Python")[1]
    return {"code": re.search(r"```python\n(.*?)```", text, re.S)[1]}


def test_the_chain_of_readme_and_mixture_runs(calls, tmp_path):
    """From recordings to transcripts, and a mixture of tasks, in the words of the pages."""
    make_recordings(tmp_path)
    make_digits(tmp_path)
    (tmp_path / "sld_user_dir").symlink_to(ROOT / "sld_user_dir")
    copy = "import shutil, glob; shutil.copy('checkpoints/checkpoint_best.pt', 'checkpoint_best.pt')"
    copy += "\nimport os; os.makedirs('runs/mixture_data')"
    copy += "\nfor path in glob.glob('manifests/digits/*.tsv'): shutil.copy(path, 'runs/mixture_data')"
    readme, mixture = steps_of("README.md", calls), steps_of("docs/mixture.md", calls)
    assert len(readme) == 10 and len(mixture) >= 9
    steps = [*readme, {"code": copy}, from_python(), *mixture]
    (tmp_path / "steps.json").write_text(json.dumps(steps))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "session.py"), "steps.json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.stdout.count("=== ") == len(steps)
    for made in ("data/train.tsv", "data/dict.txt", "kmeans.npz", "results/generate-test.txt", "spoken.tsv"):
        assert (tmp_path / made).stat().st_size > 0, made
    assert re.search(r"^a\.wav\t", done.stdout, re.M), "sld transcribe printed nothing"
    assert "WER" in done.stdout
