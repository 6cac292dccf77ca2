"""Imports follow the data: audio → features → units → manifest → batch → model → decode → report."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support.miniature import ROOT

PACKAGE = ROOT / "sld_user_dir"
FORBIDDEN = {
    "vocab.py": {"data", "features", "clustering", "tasks", "models", "criterions", "decoding", "interop"},
    "criterions/objective.py": {"*"},
    "criterions/rows.py": {"*"},
    "data": {"tasks", "models", "criterions", "decoding"},
    "features": {"tasks", "models", "criterions", "decoding"},
    "clustering": {"tasks", "models", "criterions", "decoding"},
    "interop": {"tasks", "models", "criterions"},
    "decoding": {"criterions"},
}


def imported(path: Path) -> set:
    """Subpackages and modules of ours that a file imports anywhere in it."""
    package = ("sld_user_dir", *path.relative_to(PACKAGE).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names = [(*base, *(node.module or "").split("."), alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        else:
            continue
        found |= {next((p for p in n[1:] if p), "") for n in names if n[0] == "sld_user_dir"}
        found |= {"scripts" for n in names if n[0] == "scripts"}
    return found


@pytest.mark.parametrize("place", FORBIDDEN)
def test_imports_flow_one_way(place):
    path = PACKAGE / place
    files = [path] if path.suffix else sorted(path.rglob("*.py"))
    assert files
    for file in files:
        wrong = imported(file) if "*" in FORBIDDEN[place] else imported(file) & FORBIDDEN[place]
        assert not wrong, f"{file.relative_to(ROOT)} imports {sorted(wrong)}"


def test_the_losses_import_torch_and_their_own_terms_alone():
    """The idea of the paper can be read, and used, without fairseq."""
    tree = ast.parse((PACKAGE / "losses" / "statistics.py").read_text(encoding="utf-8"))
    relative = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level}
    assert relative == {"objective", "rows"}
    for name in ("statistics", "objective", "positions"):
        assert "fairseq" not in (PACKAGE / "losses" / f"{name}.py").read_text(encoding="utf-8").split('"""', 2)[2]


def test_nothing_imports_scripts():
    assert not [f for f in PACKAGE.rglob("*.py") if "scripts" in imported(f)]


def test_training_imports_neither_audio_nor_clustering_libraries():
    heavy = {"faiss", "soundfile", "soxr", "kaldi_native_fbank", "transformers", "matplotlib"}
    code = f"import sys, sld_user_dir; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_the_root_logger_keeps_its_level():
    code = "import logging, sld_user_dir; print(logging.getLogger().level == logging.WARNING)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip().splitlines()[-1] == "True"
