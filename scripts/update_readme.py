"""Put measured results into the pages that show them, between their markers; nothing there is typed by hand.

    python scripts/update_readme.py        # after `make demo`; reads runs/demo/results.json
    python scripts/update_readme.py --what strangers       # after `make demo`; reads runs/demo/strangers.json
    python scripts/update_readme.py --what librispeech-mini        # after `make librispeech-mini`

Copies the learning curves to docs/demo_curves.png or docs/librispeech_mini_curve.png.
"""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from simple_parsing import ArgumentParser, DashVariant, choice

from sld_user_dir.files import read_json, read_text

ROOT = Path(__file__).resolve().parents[1]


class Shown(NamedTuple):
    """Results of a run, and the page that shows them."""

    page: Path
    run: str
    """folder of runs/"""
    rows: str
    """file of the rows"""
    block: Callable[[List[Dict[str, Any]]], str]
    """rows to Markdown"""
    plot: Optional[str] = None
    shown_plot: Optional[Path] = None
    """where the page finds the plot"""


@dataclass
class UpdateConfig:
    """Results to a page."""

    what: str = choice("demo", "strangers", "librispeech-mini", default="demo")
    """whose results"""
    results: Optional[Path] = None
    """folder of the results, if not that of the run (runs/demo, runs/librispeech-mini)"""
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


def strangers_table(rows: List[Dict[str, Any]]) -> str:
    """A table a recording of strangers.json; systems that wrote the same share a line."""
    tables = []
    for recording in dict.fromkeys(row["recording"] for row in rows):
        own = [row for row in rows if row["recording"] == recording]
        heard: Dict[Tuple[str, str], List[Dict[str, Any]]] = {}
        for row in own:
            heard.setdefault((row["units"], row["heard"]), []).append(row)
        lines = [f"`{recording}` of `{own[0]['test_set']}`, *{own[0]['said']}*:", ""]
        lines += ["| units | transcript | word errors | criteria |", "| --- | --- | ---: | --- |"]
        for (units, text), same in heard.items():
            names = ", ".join(f"`{row['criterion']}`" for row in same)
            lines.append(f"| {units} | {text or '(nothing)'} | {same[0]['word_errors']} | {names} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def replace_block(text: str, name: str, block: str) -> str:
    """Text with what stands between the markers of ``name`` replaced."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no markers <!-- {name} --> … <!-- /{name} -->; put them back")
    return pattern.sub(lambda m: f"{m[1]}{block}\n{m[2]}", text)


PAGES = {
    "demo": Shown(
        ROOT / "README.md", "demo", "results.json", demo_table, "curves.png", ROOT / "docs" / "demo_curves.png"
    ),
    "strangers": Shown(ROOT / "docs" / "strangers.md", "demo", "strangers.json", strangers_table),
    "librispeech-mini": Shown(
        ROOT / "docs" / "librispeech-mini.md",
        "librispeech-mini",
        "results.json",
        demo_table,
        "learning_curve.png",
        ROOT / "docs" / "librispeech_mini_curve.png",
    ),
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(UpdateConfig, dest="config")
    config: UpdateConfig = parser.parse_args(argv).config
    shown = PAGES[config.what]
    page, results = config.page or shown.page, config.results or ROOT / "runs" / shown.run
    try:
        rows = read_json(results / shown.rows)
        text = replace_block(read_text(page), config.what, shown.block(rows))
    except (ValueError, OSError) as error:
        print(f"update_readme.py: {error}", file=sys.stderr)
        return 1
    page.write_text(text, encoding="utf-8")
    if page == shown.page and shown.plot and shown.shown_plot:
        shutil.copyfile(results / shown.plot, shown.shown_plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
