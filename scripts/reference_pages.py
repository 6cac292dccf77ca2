"""A hook of mkdocs (see `mkdocs.yml`): the pages of the API reference, one for each folder of the package.

A page names the folder's modules for mkdocstrings, which fills in their docstrings without importing them. The pages
are made while the site is built and stand nowhere else; so is the style sheet that colours code.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Dict, List, Tuple

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sld_user_dir"
SHARED = "shared by all"
"""The page of the modules that stand at the top of the package."""
LEFT_OUT = ("commands", "config")
"""What has `--help` instead, and what holds no code."""


def modules_by_page() -> Dict[str, List[str]]:
    """Dotted names of the public modules, by page, in the alphabet's order; empty modules are left out."""
    pages: Dict[str, List[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__main__" or parts[1] in LEFT_OUT or (len(parts) == 2 and parts[-1] == "__init__"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if parts[-1] == "__init__":
            if not any(isinstance(node, (ast.ClassDef, ast.FunctionDef)) for node in tree.body):
                continue
            parts = parts[:-1]
        page = parts[1] if (PACKAGE / parts[1]).is_dir() else SHARED
        pages.setdefault(page, []).append(".".join(parts))
    return pages


def page_text(name: str, modules: List[str]) -> str:
    """Markdown of a page."""
    entries = "\n\n".join(f"## `{module}`\n\n::: {module}" for module in modules)
    return f"# {name}\n\n{entries}\n"


def _address(page: str) -> str:
    return f"reference/{page.replace(' ', '_')}.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages into the navigation, behind the index of the reference."""
    (section,) = (entry["API reference"] for entry in config.nav or [] if "API reference" in entry)
    entries: List[Tuple[str, str]] = [(page, _address(page)) for page in modules_by_page()]
    section.extend({page: address} for page, address in entries)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Make the pages, and the style sheet."""
    for page, modules in modules_by_page().items():
        files.append(File.generated(config, _address(page), content=page_text(page, modules)))
    colours = HtmlFormatter(style="default").get_style_defs(".highlight")
    files.append(File.generated(config, "pygments.css", content=colours))
    return files
