"""The structure of the package, which docs/architecture.md describes: imports, frameworks, names."""

import ast
import re
import subprocess
import sys
from collections import Counter

import pytest
from support.imports import PACKAGE, SOURCES, circle, folder_of, graph, imported_names
from support.miniature import ROOT

ADAPTERS = ("tasks", "models", "criterions", "fairseq_patches")
CORE = (
    "ledger",
    "vocabulary",
    "manifests",
    "features",
    "clustering",
    "quantisation",
    "speech_tokenizers",
    "longform",
    "pipeline",
    "interop",
    "corpora",
    "sequences",
    "losses",
    "search",
    "timing",
    "streaming",
    "scoring",
    "confidence",
    "view",
)
TABLES = ("ledger", "vocabulary", "manifests", "interop", "corpora", "scoring", "confidence", "commands")
FORBIDDEN = {
    "ledger": {
        "manifests",
        "features",
        "clustering",
        "pipeline",
        "interop",
        "sequences",
        "losses",
        "search",
        "scoring",
    },
    "vocabulary": {"sequences", "losses", "search", "features", "clustering"},
    "manifests": {"features", "clustering", "pipeline", "sequences", "losses", "search"},
    "features": {"clustering", "pipeline", "sequences", "losses", "search"},
    "clustering": {"pipeline", "interop", "sequences", "losses", "search"},
    "quantisation": {"features", "pipeline", "interop", "losses", "search"},
    "speech_tokenizers": {"features", "clustering", "pipeline", "interop", "sequences", "losses", "search"},
    "longform": {"clustering", "pipeline", "interop", "sequences", "losses", "search"},
    "sequences": {"losses", "search", "pipeline", "experiment"},
    "losses": {"search", "pipeline", "scoring"},
    "search": {"losses", "scoring", "pipeline"},
    "timing": {"losses", "scoring", "confidence", "pipeline", "streaming"},
    "streaming": {"losses", "scoring", "confidence", "pipeline", "clustering", "interop"},
    "scoring": {"search", "losses", "sequences", "timing", "confidence"},
    "confidence": {"search", "losses", "sequences", "timing"},
    "view": {"losses", "scoring", "pipeline", "clustering", "interop", "streaming"},
    "interop": {"sequences", "losses", "search"},
}
"""What each folder must not import beside the adapters: data flows one way."""


def fresh(code: str) -> str:
    """The last line that a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


def import_all(*folders: str) -> str:
    modules = [name for name in SOURCES if folder_of(name) in folders]
    assert modules
    return f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"


def test_only_the_adapters_import_fairseq():
    users = {name for name, path in SOURCES.items() if any(n.split(".")[0] == "fairseq" for n in imported_names(path))}
    assert users and {folder_of(name) for name in users} <= set(ADAPTERS)


def test_fairseq2_has_a_folder_of_its_own():
    """It alone imports fairseq2, and nothing of fairseq's side; nothing else imports it."""
    users = {name for name, path in SOURCES.items() if any(n.split(".")[0] == "fairseq2" for n in imported_names(path))}
    assert users and {folder_of(name) for name in users} == {"fairseq2"}
    for name, others in graph().items():
        folders = {folder_of(other) for other in others}
        wrong = {*ADAPTERS, "hub", "experiment", "commands"} if folder_of(name) == "fairseq2" else {"fairseq2"}
        assert not folders & wrong, name


@pytest.mark.parametrize("folder", CORE)
def test_the_core_loads_no_framework(folder):
    loaded = fresh(import_all(folder) + "print([m for m in ('fairseq', 'hydra') if m in sys.modules])")
    assert loaded == "[]"


def test_tables_load_no_torch():
    """Nor any audio or clustering library, but for what reads audio and k-means files on purpose."""
    heavy = ("torch", "fairseq", "transformers", "matplotlib", "sklearn")
    for folder in TABLES[:-1]:
        assert fresh(import_all(folder) + f"print([m for m in {heavy!r} if m in sys.modules])") == "[]", folder


def test_importing_the_manifest_module_costs_a_fraction_of_torch():
    code = "import time\nstart = time.process_time()\nimport {}\nprint(time.process_time() - start)"
    ours, torchs = (float(fresh(code.format(name))) for name in ("sld_user_dir.manifests.unit_manifest", "torch"))
    print(f"manifest module {ours:.2f} s, torch {torchs:.2f} s: a ratio of {ours / torchs:.2f}")
    assert ours < 0.5 and ours < 0.5 * torchs


def test_training_loads_neither_audio_nor_clustering_libraries():
    heavy = ("faiss", "soundfile", "soxr", "kaldi_native_fbank", "matplotlib", "sentencepiece")
    code = f"import sys, fairseq, sld_user_dir; print([m for m in {heavy!r} if m in sys.modules])"
    assert fresh(code) == "[]"


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_flow_one_way(folder):
    wrong = FORBIDDEN[folder] | set(ADAPTERS) | {"hub", "experiment", "commands"}
    for name in (n for n in SOURCES if folder_of(n) == folder):
        against = {other for other in graph()[name] if folder_of(other) in wrong}
        assert not against, f"{name} imports {sorted(against)}"


def test_nothing_imports_commands_or_scripts():
    for name, path in SOURCES.items():
        used = {folder_of(n) if n.startswith("sld_user_dir") else n.split(".")[0] for n in imported_names(path)}
        assert "scripts" not in used and ("commands" not in used or name in ("sld_user_dir.__main__",)), name


def test_loss_terms_import_each_other_never():
    terms = {name for name in SOURCES if name.startswith("sld_user_dir.losses.terms.")}
    assert len(terms) >= 5
    for name in terms:
        assert not graph()[name] & terms, name


def test_the_fused_kernel_knows_no_term():
    assert not {name for name in graph()["sld_user_dir.losses.fused"] if ".terms" in name}
    source = SOURCES["sld_user_dir.losses.fused"].read_text(encoding="utf-8")
    assert not re.search(r"\b(kl|ctc|smoothing|official)\b", source, re.I)


def test_there_is_no_import_circle():
    assert circle(graph()) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}) == ["a", "b", "c", "a"]  # it would be found


def test_names_stand_for_one_thing():
    classes = Counter(
        node.name
        for path in SOURCES.values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name != "Options"
    )
    modules = Counter(name.rsplit(".", 1)[1] for name in SOURCES if name.count(".") > 1 and ".commands." not in name)
    assert [name for name, count in (*classes.items(), *modules.items()) if count > 1] == []


def test_package_code_names_commands_never_scripts():
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"scripts/\w+\.py", path.read_text(encoding="utf-8")), path


def test_few_lines_are_kept_from_the_formatter():
    lines = [
        line
        for folder in ("sld_user_dir", "scripts", "benchmarks", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert sum(line.rstrip().endswith("# fmt:" + " skip") for line in lines) <= 20


def test_the_root_logger_keeps_its_level():
    assert fresh("import logging, sld_user_dir.hub, fairseq; print(logging.getLogger().level)") == "30"
