"""Every command in README, CONTRIBUTING and docs works: executed by a test, or parsed by its real parser.

How the commands are found: bash itself runs each shell block in an empty folder where the programs of `RULES` only
note how they were called (`support.documents.Shell`). A program without a rule, a word that its rule refuses and any
complaint of bash are failures, so that nothing is left out in silence.

All are parsed (`support.command_rules`). Executed besides: by `test_chains.py` the programs of `CHAINS`, in the words
of README and mixture.md; by the tests of `ELSEWHERE` the pages named there; the LibriSpeech recipe with `--dry-run`.
Python code that is not executed is compiled, and its imports are resolved.
"""

import ast
import importlib
from collections import Counter
from pathlib import Path

import pytest
from support.command_rules import CHAINS, RULES, check, help_is_no_failure, substituted
from support.documents import Call, Shell, blocks_of, name_of
from support.miniature import ROOT

ELSEWHERE = {
    "docs/interop.md": ("tests/interop/test_worked_example.py", "worked example"),
    "docs/guides/add_a_loss_term.md": ("tests/losses/test_add_a_loss_term.py", None),
    "docs/guides/add_an_encoder.md": ("tests/features/test_add_an_encoder.py", None),
    "docs/guides/add_a_format.md": ("tests/interop/test_add_a_format.py", None),
}
"""Page to the test that executes its code: all of it, or what stands between two comments of this name."""


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
        ("sld score results/generate-test.txt --manifests a.tsv", "unrecognized arguments"),
        ("sld scor --generate a", "no such command"),
        ("fairseq-train DATA … --kl-wieght 1", "unrecognized arguments"),
        ("fairseq-train DATA … --kl-variant theirs", "invalid choice"),
        ("fairseq-train OTHER …", "no rule for"),
        ("python scripts/update_readme.py --demonstration x", "unrecognized arguments"),
        ("make everything", "non-zero exit status"),
        ("pytest -m quick", "invalid choice"),
        ("pip uninstall x", "no rule for pip uninstall"),
        ("git pull", "no rule for git pull"),
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
