"""The table of docs/backbones.md, family by what is tested of it: read off the parameters of the tests.

python scripts/backbone_table.py            prints it
python scripts/backbone_table.py --write    puts it into docs/backbones.md
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Dict, Optional, Sequence, Set

from sld_user_dir.files import read_text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "backbones.md"
MARKS = ("<!-- backbone-table -->\n", "<!-- /backbone-table -->")
TESTS = {
    "train": "test_logits_over_text_are_transformers_own",
    "fused": "test_fused_loss_and_gradients_are_the_plain_ones",
    "packed": "test_packed_rows_are_rows_apart",
    "decode": "test_hypotheses_are_those_of_whole_sequences",
    "generate": "test_hypotheses_are_those_of_generate",
    "export": "test_exported_logits_are_ours",
    "import": "test_the_authors_directories_become_ours",
}
"""Column to the test that is parametrised by families."""
NAMES = {
    "gpt2": "GPT-2",
    "opt": "OPT",
    "opt-projected": "OPT, projected embeddings, norms behind",
    "llama": "Llama (SmolLM), tied",
    "llama-untied": "Llama, untied",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "mistral": "Mistral, sliding window",
    "gemma3": "Gemma 3, sliding and full layers",
}


def families_of_tests(collected: str) -> Dict[str, Set[str]]:
    """Families by test, of what `pytest --collect-only -q` prints."""
    found: Dict[str, Set[str]] = {test: set() for test in TESTS.values()}
    for line in collected.split("\n"):
        name, _, parameters = line.rpartition("::")[2].partition("[")
        if name in found:
            # the longest name that the parameters begin with: llama-untied before llama
            fitting = [family for family in NAMES if f"{parameters.rstrip(']')}-".startswith(f"{family}-")]
            found[name].add(max(fitting, key=len))
    return found


def table(collected: str) -> str:
    """Markdown, a line a family."""
    found = families_of_tests(collected)
    rows = [["family", *TESTS], ["---"] * (len(TESTS) + 1)]
    for family, name in NAMES.items():
        rows.append([name, *("yes" if family in found[test] else "–" for test in TESTS.values())])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def collect() -> str:
    words = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", str(ROOT / "tests" / "models")]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into docs/backbones.md")
    options = parser.parse_args(argv)
    made = table(collect())
    if not options.write:
        print(made, end="")
        return
    text = read_text(PAGE)
    before, _, rest = text.partition(MARKS[0])
    PAGE.write_text(f"{before}{MARKS[0]}{made}{MARKS[1]}{rest.partition(MARKS[1])[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
