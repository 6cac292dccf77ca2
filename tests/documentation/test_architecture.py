"""docs/architecture.svg and .json show what the code says; measured here a second time, by other means."""

import json
import re

import pytest
from support.imports import PACKAGE, SOURCES, folder_of, graph, imported_names
from support.miniature import ROOT

from scripts import draw_architecture

FIGURE = ROOT / "docs" / "architecture.svg"
DRAW_AGAIN = "run: python scripts/draw_architecture.py"


def folder_imports() -> set:
    """(importer, imported) folders, from the module graph that the tests of layers use."""
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    pairs = {(folder_of(name), folder_of(other)) for name, others in graph().items() for other in others}
    return {(a, b) for a, b in pairs if a != b and {a, b} <= folders}


def test_the_measured_imports_are_those_of_the_module_graph():
    measured = draw_architecture.measure()
    assert {(a, b) for a, facts in measured.items() for b in facts["imports"]} == folder_imports()
    users = {
        folder_of(n) for n, path in SOURCES.items() if any(i.split(".")[0] == "fairseq" for i in imported_names(path))
    }
    assert {name for name, facts in measured.items() if facts["kind"] == "fairseq"} == users


def test_the_committed_figure_is_up_to_date(capsys):
    assert json.loads(FIGURE.with_suffix(".json").read_text()) == draw_architecture.measure(), DRAW_AGAIN
    assert draw_architecture.main(["--check"]) == 0
    shown = set(re.findall(r'id="import-(\w+)-(\w+)"', FIGURE.read_text(encoding="utf-8")))
    assert shown == {(a, b) for a, b in folder_imports() if a != "commands"}, DRAW_AGAIN


def test_the_figure_has_the_same_bytes_again(tmp_path, capsys):
    for name in ("a.svg", "b.svg"):
        assert draw_architecture.main(["--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert draw_architecture.main(["--check", "--out", str(tmp_path / "a.svg")]) == 0
    (tmp_path / "a.json").write_text("{}")
    assert draw_architecture.main(["--check", "--out", str(tmp_path / "a.svg")]) == 1
    assert "is not what the code says" in capsys.readouterr().out


def test_arrows_point_to_the_left():
    shown = {name: facts for name, facts in draw_architecture.measure().items() if name != draw_architecture.FRONT}
    centre = draw_architecture.places(shown)
    assert centre.keys() == shown.keys()
    assert all(centre[b][0] < centre[a][0] for a, facts in shown.items() for b in facts["imports"])


def test_a_circle_of_folders_is_refused():
    circle = {"a": {"imports": ["b"], "kind": ""}, "b": {"imports": ["a"], "kind": ""}}
    with pytest.raises(ValueError, match="a → b → a"):
        draw_architecture.columns(circle)


def test_imports_within_functions_and_for_types_are_told_apart():
    source = (
        "import torch\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import faiss\n"
        "def f():\n    from fairseq import utils\n"
    )
    at_once = dict(draw_architecture.imports_of(source))
    assert at_once == {"torch": True, "typing": True, "faiss": False, "fairseq": False}
