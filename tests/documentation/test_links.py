"""Links, anchors, paths, modules, make targets and names of tests in README, CONTRIBUTING and docs: all of them exist.

Addresses on the web are not fetched. `make docs` checks the same links once more, by mkdocs.
"""

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest
from support.documents import PAGES, TEXT, anchors, code_spans, cut, headings, name_of
from support.imports import SOURCES
from support.miniature import ROOT

FOLDERS = ("sld_user_dir", "scripts", "tests", "docs", "benchmarks", "examples", "manifests", ".ci")
LANGUAGES = {"sh", "python", TEXT}
WRITTEN_BY_THE_READER = {"digit_encoder.py"}
"""Files that a page tells to write, beside those of the guides' headings."""
NO_TESTS = {"test_unseen", "test_asterisk", "test_voices", "test_set"}
"""Names in the documents that only look like a test's: a set of recordings, and a field of scores."""
pages = pytest.mark.parametrize("page", PAGES, ids=name_of)


def without_code(page: Path) -> str:
    return re.sub(r"`[^`]+`", "`code`", cut(page).prose)


def links(page: Path) -> list:
    return re.findall(r"\]\(([^)\s]+)\)", without_code(page))


def to_be_written(page: Path) -> set:
    """Files of the headings `The file …` of a guide."""
    return {match[1] for text in headings(page) if (match := re.fullmatch(r"The file `(.+)`", text))}


def test_pages_are_found_and_hold_links():
    assert {"README.md", "CONTRIBUTING.md", "docs/index.md", "docs/guides/add_a_loss_term.md"} <= set(
        map(name_of, PAGES)
    )
    assert len(links(ROOT / "README.md")) > 10 and len(links(ROOT / "docs" / "index.md")) > 20


@pages
def test_relative_links_and_anchors_exist(page):
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{name_of(page)}: no file {link}"
        if page.is_relative_to(ROOT / "docs"):
            assert target.is_relative_to(ROOT / "docs"), f"{name_of(page)}: {link} is not part of the site"
        if anchor:
            assert anchor in anchors(target), f"{name_of(page)}: no heading for {link}: {sorted(anchors(target))}"


@pages
def test_every_page_is_linked_from_the_index(page):
    if page.parent == ROOT:
        return
    start = ROOT / "docs" / "index.md"
    linked = {(start.parent / link.partition("#")[0]).resolve() for link in links(start)}
    assert page == start or page in linked


@pages
def test_paths_exist(page):
    for span in code_spans(page):
        if re.fullmatch(rf"({'|'.join(map(re.escape, FOLDERS))})(/[\w./-]*)?", span) and span not in to_be_written(
            page
        ):
            assert (ROOT / span).exists(), f"{name_of(page)}: `{span}` does not exist"


@cache
def source_files() -> tuple:
    found = [path for folder in FOLDERS[:5] for path in (ROOT / folder).rglob("*.py")]
    return tuple(f"/{path.relative_to(ROOT).as_posix()}" for path in found)


@pages
def test_names_of_source_files_exist(page):
    for span in code_spans(page):
        if re.fullmatch(r"[\w/]+\.py", span) and span not in WRITTEN_BY_THE_READER | to_be_written(page):
            assert any(path.endswith(f"/{span}") for path in source_files()), f"{name_of(page)}: no file `{span}`"


@pages
def test_guides_name_files_that_are_still_to_be_written(page):
    for path in to_be_written(page):
        assert (ROOT / path).parent.is_dir() and not (ROOT / path).exists(), f"{name_of(page)}: {path}"


@pages
def test_dotted_names_of_the_package_exist(page):
    for span in code_spans(page):
        for name in re.findall(r"(?<![\w.])sld_user_dir(?:\.\w+)+", span):
            module = name
            while module not in SOURCES:
                module = module.rpartition(".")[0]
            for part in name[len(module) :].split(".")[1:2]:
                source = SOURCES[module].read_text(encoding="utf-8")
                assert re.search(rf"\b{part}\b", source), f"{name_of(page)}: no {name}"


@pages
def test_tests_that_are_named_exist(page):
    named = {span for span in code_spans(page) if re.fullmatch(r"test_\w+", span)} - NO_TESTS
    assert named <= names_of_tests(), name_of(page)


@cache
def names_of_tests() -> set:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "tests").rglob("test_*.py"))
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pages
def test_make_targets_and_modules_exist(page):
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
    code = [*code_spans(page), *(block.code for block in cut(page).blocks)]
    for span in code:
        for target in re.findall(r"(?:^|&& )make ([a-z0-9-]+)", span, re.M):
            assert target in targets, f"{name_of(page)}: no target {target}"
        for module in re.findall(r"python -m ([\w.]+)", span):
            assert importlib.util.find_spec(module), f"{name_of(page)}: no module {module}"


@pages
def test_blocks_name_their_language_and_no_command_is_indented(page):
    for block in cut(page).blocks:
        assert block.language in LANGUAGES, f"{block}: ```{block.language}; one of {sorted(LANGUAGES)}"
    for line in cut(page).indented:
        commands = r"\s*(sld|fairseq-|make|python|pytest|pip|git|torchrun|srun|sbatch|scripts/|\$)[\w-]* "
        assert not re.match(commands, line.text), f"{name_of(page)}:{line.line}: fence it as ```sh"


def test_headings_that_differ_between_the_two_renderers_are_no_anchors(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One thing, plainly\n\n## a → b\n\n```sh\n# no heading\n```\n")
    assert anchors(page) == {"one-thing-plainly"}
