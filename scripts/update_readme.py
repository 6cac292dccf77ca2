"""Put measured results into the pages that show them, between their markers; nothing there is typed by hand.

    python scripts/update_readme.py        # after `make demo`; reads runs/demo/results.json
    python scripts/update_readme.py --what librispeech-mini        # after `make librispeech-mini`

Copies the learning curves to docs/demo_curves.png or docs/librispeech_mini_curve.png.
"""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from simple_parsing import ArgumentParser, DashVariant, choice

from sld_user_dir.files import read_json, read_text

ROOT = Path(__file__).resolve().parents[1]


PAGES = {
    "demo": (ROOT / "README.md", "curves.png", ROOT / "docs" / "demo_curves.png"),
    "librispeech-mini": (
        ROOT / "docs" / "librispeech-mini.md",
        "learning_curve.png",
        ROOT / "docs" / "librispeech_mini_curve.png",
    ),
}
"""Results by name: the page that shows them, the plot among them, and where the page finds it."""


@dataclass
class UpdateConfig:
    """Results to a page."""

    what: str = choice(*PAGES, default="demo")
    """whose results"""
    results: Optional[Path] = None
    """folder of the results, if not runs/WHAT"""
    page: Optional[Path] = None
    """file with the markers <!-- WHAT --> … <!-- /WHAT -->, if not the usual one"""


def demo_table(rows: List[Dict[str, Any]]) -> str:
    """Markdown table of results.json, a row a system and kind of units."""
    sets = list(dict.fromkeys(row["test_set"] for row in rows))
    lines = ["| criterion | units | " + " | ".join(f"WER % on `{s}`" for s in sets) + " | updates | training |"]
    lines.append("|---|---|" + "---:|" * (len(sets) + 2))
    for kind, name in dict.fromkeys((row["units"], row["criterion"]) for row in rows):
        own = {row["test_set"]: row for row in rows if (row["units"], row["criterion"]) == (kind, name)}
        cells = [_rate(own[s]) if s in own else "–" for s in sets]
        first = next(iter(own.values()))
        minutes = "–" if first["train_seconds"] is None else f"{first['train_seconds'] / 60:.1f} min"
        lines.append(f"| `{name}` | {kind} | " + " | ".join(cells) + f" | {first['updates']} | {minutes} |")
    sizes = ", ".join(f"{next(r['utterances'] for r in rows if r['test_set'] == s)} in `{s}`" for s in sets)
    note = (
        f"Preset `{rows[0]['preset']}`, seed {rows[0]['seed']}, beam 5; in brackets the 95 % bootstrap interval; "
        f"utterances: {sizes}."
    )
    return "\n".join(lines) + "\n\n" + note


def _rate(row: Dict[str, Any]) -> str:
    return "{:.1f} ({:.1f} to {:.1f})".format(row["wer"], *row["wer_interval_95"])


def replace_block(text: str, name: str, block: str) -> str:
    """Text with what stands between the markers of ``name`` replaced."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no markers <!-- {name} --> … <!-- /{name} -->; put them back")
    return pattern.sub(lambda m: f"{m[1]}{block}\n{m[2]}", text)


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(UpdateConfig, dest="config")
    config: UpdateConfig = parser.parse_args(argv).config
    usual_page, plot, shown_plot = PAGES[config.what]
    page, results = config.page or usual_page, config.results or ROOT / "runs" / config.what
    try:
        rows = read_json(results / "results.json")
        text = replace_block(read_text(page), config.what, demo_table(rows))
    except (ValueError, OSError) as error:
        print(f"update_readme.py: {error}", file=sys.stderr)
        return 1
    page.write_text(text, encoding="utf-8")
    if page == usual_page:
        shutil.copyfile(results / plot, shown_plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
