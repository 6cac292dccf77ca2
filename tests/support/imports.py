"""Which module of the package imports which, read off the sources: imports within functions count, too."""

import ast
from functools import cache
from pathlib import Path
from typing import Dict, List, Set

from support.miniature import ROOT

PACKAGE = ROOT / "sld_user_dir"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def imported_names(path: Path) -> Set[str]:
    """Dotted names that a file imports, `a.b` for `from a import b`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                found.add(inside if inside in SOURCES else str(node.module))
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@cache
def graph() -> Dict[str, Set[str]]:
    """Module to modules of the package."""
    return {name: {n for n in imported_names(path) if n in SOURCES} - {name} for name, path in SOURCES.items()}


def folder_of(name: str) -> str:
    """The folder below the package, or the module itself where it stands at the top; empty for the package."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def circle(edges: Dict[str, Set[str]]) -> List[str]:
    """Modules of one import circle, in its order; empty without one."""
    state: Dict[str, int] = {}
    trail: List[str] = []

    def visit(name: str) -> List[str]:
        state[name] = 1
        trail.append(name)
        for other in sorted(edges.get(name, ())):
            if state.get(other) == 1:
                return [*trail[trail.index(other) :], other]
            if other not in state and (found := visit(other)):
                return found
        state[name] = 2
        trail.pop()
        return []

    for name in sorted(edges):
        if name not in state and (found := visit(name)):
            return found
    return []
