"""Text is read in one place, `sld_user_dir/files.py`: what ends a line, and what is no UTF-8, is decided there."""

import ast
from pathlib import Path
from typing import List

import pytest
from support.imports import PACKAGE
from support.miniature import ROOT

OWNER = PACKAGE / "files.py"
WITHOUT_THE_PACKAGE = {
    "setup_environment.py": "makes the environment that the package is installed in",
    "setup_toolchain.py": "runs before that",
    "check_environment.py": "runs where the package may not be importable",
    "draw_architecture.py": "reads the sources, and imports nothing of the package",
    "reference_pages.py": "reads the sources within mkdocs, and imports nothing of the package",
}
READERS = {"splitlines", "read_text", "loadtxt", "genfromtxt", "FileInput"}
"""Names of functions that split or decode text by rules of their own."""


def text_reading(source: str) -> List[str]:
    """Calls that read text or split it into lines, `LINE: NAME`."""
    tree = ast.parse(source)
    ours = {  # names imported from the owner
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "sld_user_dir.files"
        for alias in node.names
    }
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if isinstance(function, ast.Name) and name in ours:
            continue
        if name in READERS or (name == "open" and _opens_text_to_read(node)):
            found.append(f"{node.lineno}: {name}")
    return found


def _opens_text_to_read(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        if function.value.id == "os":  # a descriptor, no text
            return False
        of_path = function.value.id not in ("io", "gzip", "bz2", "lzma", "codecs")
    else:
        of_path = isinstance(function, ast.Attribute)
    place = 0 if of_path else 1
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] + call.args[place : place + 1]
    if of_path and modes and not isinstance(modes[0], ast.Constant):
        return False  # another method of that name: a member of an archive
    mode = modes[0].value if modes and isinstance(modes[0], ast.Constant) else "r"
    if not isinstance(mode, str) or not set(mode) <= set("rwxabt+"):
        return False
    gzipped = isinstance(function, ast.Attribute) and getattr(function.value, "id", "") in ("gzip", "bz2", "lzma")
    binary = "b" in mode or (gzipped and "t" not in mode)
    return not binary and not set(mode) & set("wxa")


def sources() -> List[Path]:
    scripts = [path for path in sorted((ROOT / "scripts").glob("*.py")) if path.name not in WITHOUT_THE_PACKAGE]
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != OWNER] + scripts


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_text_is_read_by_its_owner(path):
    wrong = text_reading(path.read_text(encoding="utf-8"))
    assert wrong == [], f"{path}: read text by sld_user_dir.files (read_lines, read_text, read_json, read_log)"


@pytest.mark.parametrize("name", WITHOUT_THE_PACKAGE)
def test_scripts_that_are_left_out_import_nothing_of_the_package(name):
    tree = ast.parse((ROOT / "scripts" / name).read_text(encoding="utf-8"))
    assert not any(
        isinstance(node, ast.ImportFrom) and str(node.module).startswith("sld_user_dir")
        for statement in tree.body
        for node in ast.walk(statement)
        if not isinstance(statement, ast.FunctionDef)
    )


@pytest.mark.parametrize(
    "code, wrong",
    [
        ("text.splitlines()", True),
        ("path.read_text(encoding='utf-8')", True),
        ("open(path)", True),
        ("open(path, encoding='utf-8')", True),
        ("path.open(encoding='utf-8')", True),
        ("path.open('r')", True),
        ("open(path, mode='rt')", True),
        ("gzip.open(path, 'rt')", True),
        ("np.loadtxt(path)", True),
        ("read_text(path)", True),
        ("from sld_user_dir.files import read_text\nread_text(path)", False),
        ("gzip.open(path)", False),
        ("open(path, 'rb')", False),
        ("path.open('wb')", False),
        ("open(path, 'w', encoding='utf-8')", False),
        ("path.open('a')", False),
        ("archive.open(member)", False),
        ("os.open(os.devnull, os.O_WRONLY)", False),
        ("text.split('\\n')", False),
    ],
)
def test_what_counts_as_reading_text(code, wrong):
    assert bool(text_reading(code)) is wrong
