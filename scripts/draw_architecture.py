"""Draw docs/architecture.svg from the code: the folders of the package, and who imports whom.

    python scripts/draw_architecture.py            # writes docs/architecture.svg and docs/architecture.json
    python scripts/draw_architecture.py --check    # says whether docs/architecture.json is what the code says

Imports are read off the sources, those within functions included; nothing is imported for it. The JSON file holds what
the figure shows.
"""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from simple_parsing import ArgumentParser, DashVariant

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sld_user_dir"
FRONT = "commands"
"""The folder that imports every other one; its arrows are not drawn."""
KINDS = {
    "fairseq": ("#f6b26b", "imports fairseq"),
    "torch": ("#9fc5e8", "imports torch"),
    "torch when used": ("#deebf7", "imports torch within functions"),
    "": ("#ffffff", "imports neither"),
}


@dataclass
class DrawConfig:
    """The figure of the architecture."""

    out: Path = ROOT / "docs" / "architecture.svg"
    """figure to write; the JSON file stands beside it"""
    check: bool = False
    """write nothing; exit status 1 where the JSON file is not what the code says"""


Architecture = Dict[str, Dict[str, Any]]
"""Folder to its `imports`, which are other folders, and its `kind`, a key of `KINDS`."""


def imports_of(source: str) -> Iterator[Tuple[str, bool]]:
    """Dotted names of imported modules, and whether the import runs when the module itself is imported."""
    tree = ast.parse(source)
    later = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or _is_for_types_only(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, id(node) not in later
            if node.module == PACKAGE.name:
                yield from ((f"{node.module}.{alias.name}", id(node) not in later) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in later) for alias in node.names)


def _is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def measure() -> Architecture:
    """What the sources say; folders in the alphabet's order."""
    found: Architecture = {}
    for folder in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
        names = [name for path in sorted(folder.rglob("*.py")) for name in imports_of(path.read_text(encoding="utf-8"))]
        others = [name.split(".")[1] for name, _ in names if name.startswith(f"{PACKAGE.name}.")]
        imports = [other for other in sorted(set(others)) if other != folder.name and (PACKAGE / other).is_dir()]
        found[folder.name] = {"imports": imports, "kind": _kind(names)}
    return found


def _kind(names: Sequence[Tuple[str, bool]]) -> str:
    frameworks = {(name.split(".")[0], at_once) for name, at_once in names}
    if {("fairseq", True), ("fairseq", False)} & frameworks:
        return "fairseq"
    if ("torch", True) in frameworks:
        return "torch"
    return "torch when used" if ("torch", False) in frameworks else ""


def columns(architecture: Architecture) -> List[List[str]]:
    """Folders from left to right: each stands to the right of all that it imports, as early as can be."""
    level: Dict[str, int] = {}

    def visit(name: str, trail: Tuple[str, ...] = ()) -> int:
        if name in trail:
            raise ValueError(f"the folders {' → '.join((*trail, name))} import each other in a circle")
        if name not in level:
            level[name] = max((visit(n, (*trail, name)) + 1 for n in architecture[name]["imports"]), default=0)
        return level[name]

    for name in architecture:
        visit(name)
    return [[name for name in architecture if level[name] == i] for i in range(max(level.values()) + 1)]


def implied(architecture: Architecture, name: str, other: str) -> bool:
    """Whether a chain of other imports leads from a folder to one that it imports, too."""

    def reaches(start: str) -> bool:
        return start == other or any(map(reaches, architecture[start]["imports"]))

    return any(reaches(step) for step in architecture[name]["imports"] if step != other)


Places = Dict[str, Tuple[float, float]]
"""Centre (x, y) of each folder's box."""
HALF_WIDTH, HALF_HEIGHT = 0.31, 0.34


def places(architecture: Architecture) -> Places:
    """Where the boxes stand: each column in the order in which the fewest arrows run across boxes."""
    order = columns(architecture)
    for _ in range(3):
        for x, names in enumerate(order):
            candidates = ([*order[:x], list(column), *order[x + 1 :]] for column in permutations(names))
            order = min(candidates, key=lambda trial: _disorder(architecture, _placed(trial)))
    return _placed(order)


def _placed(order: Sequence[Sequence[str]]) -> Places:
    """Neighbouring columns are staggered, so that arrows pass between boxes."""
    return {
        name: (float(x), 1.3 * (i - (len(names) - 1) / 2) + 0.3 * (-1) ** x)
        for x, names in enumerate(order)
        for i, name in enumerate(names)
    }


def _disorder(architecture: Architecture, centre: Places) -> float:
    """Boxes that the straight arrows run across, and a little for the arrows' heights."""
    total = 0.0
    for name, facts in architecture.items():
        x, y = centre[name]
        for other in facts["imports"]:
            to_x, to_y = centre[other]
            total += 0.1 * abs(y - to_y)
            for box_x, box_y in centre.values():
                if to_x < box_x < x:
                    at = to_y + (y - to_y) * (box_x - to_x) / (x - to_x)
                    total += abs(at - box_y) < HALF_HEIGHT + 0.05
    return total


def draw(architecture: Architecture, out: Path) -> None:
    """Write the figure, as SVG whose bytes depend on the architecture and on matplotlib's release alone."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyBboxPatch, Patch

    shown = {name: facts for name, facts in architecture.items() if name != FRONT}
    centre = places(shown)
    with plt.rc_context({"svg.hashsalt": "architecture", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure, axes = plt.subplots(figsize=(12, 5.2), layout="constrained")
        for name, (x, y) in centre.items():
            corner, size = (x - HALF_WIDTH, y - HALF_HEIGHT), (2 * HALF_WIDTH, 2 * HALF_HEIGHT)
            colour = KINDS[shown[name]["kind"]][0]
            axes.add_patch(FancyBboxPatch(corner, *size, boxstyle="round,pad=0.01", fc=colour, ec="#333333"))
            axes.text(x, y, name.replace("_", "_\n"), ha="center", va="center", fontsize=10)
            for other in shown[name]["imports"]:
                axes.add_patch(_arrow(shown, name, other, centre))
        legend = [Patch(fc=colour, ec="#333333", label=label) for colour, label in KINDS.values()]
        axes.legend(handles=legend, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, frameon=False, fontsize=9)
        xs, ys = zip(*centre.values())
        axes.set(xlim=(min(xs) - 0.4, max(xs) + 0.4), ylim=(min(ys) - 0.5, max(ys) + 0.5))
        axes.set_axis_off()
        figure.savefig(out, metadata={"Date": None, "Creator": None})
        plt.close(figure)


def _arrow(architecture: Architecture, name: str, other: str, centre: Places) -> Any:
    """From a folder to one that it imports; faint where a chain of other arrows says as much."""
    from matplotlib.patches import FancyArrowPatch

    (x, y), (to_x, to_y) = centre[name], centre[other]
    slope = max(-0.2, min(0.2, 0.15 * (to_y - y)))  # arrows leave and meet a box at different heights
    arrow = FancyArrowPatch(
        (x - HALF_WIDTH, y + slope),
        (to_x + HALF_WIDTH + 0.01, to_y - slope),
        arrowstyle="-|>",
        mutation_scale=9,
        shrinkA=0,
        shrinkB=0,
        color="#b45f06" if architecture[name]["kind"] == "fairseq" else "#555555",
        lw=1.0,
        alpha=0.3 if implied(architecture, name, other) else 1.0,
        zorder=0,
    )
    arrow.set_gid(f"import-{name}-{other}")
    return arrow


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the program; returns the exit status."""
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(DrawConfig, dest="config")
    config: DrawConfig = parser.parse_args(argv).config
    text = json.dumps(measure(), indent=1) + "\n"
    facts = config.out.with_suffix(".json")
    if config.check:
        same = facts.exists() and facts.read_text(encoding="utf-8") == text
        print(f"{facts}: {'is' if same else 'is not'} what the code says")
        return 0 if same else 1
    draw(measure(), config.out)
    facts.write_text(text, encoding="utf-8")
    print(f"wrote {config.out} and {facts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
