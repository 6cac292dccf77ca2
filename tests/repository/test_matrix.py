"""scripts/matrix.py and benchmarks/load.py: what they take from the repository, what they print."""

import json
import subprocess
import sys

import pytest
from support.miniature import ROOT

from scripts import matrix

ROWS = [
    {"name": "3.10/oldest", "wanted": "torch==2.4.0", "python": "3.10.1", "fairseq": "0.12.2", "outcome": "9 passed"},
    {"name": "3.11/newest", "wanted": "torch>=2.4,<3", "outcome": "cannot be installed", "said": "no such torch"},
]


def test_the_range_of_torch_is_that_of_the_requirements():
    oldest, newest = matrix.torch_range()
    line = next(s for s in (ROOT / "requirements-base.txt").read_text().split("\n") if s.startswith("torch>="))
    assert line.startswith(f"{newest}  #") and oldest == f"torch=={newest.partition('>=')[2].partition(',')[0]}.0"


def test_its_pythons_are_those_that_are_supported():
    classifiers = (ROOT / "pyproject.toml").read_text()
    assert all(f"Python :: {version}" in classifiers for version in matrix.PYTHONS)
    assert classifiers.count("Python :: 3.") == len(matrix.PYTHONS)
    assert all((ROOT / path).exists() for path in (*matrix.FAST, *matrix.IMPORTS))


def test_the_table_names_what_was_installed_and_why_it_was_not(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    out.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert matrix.main(["--table", "--out", str(out)]) == 1  # one of them failed
    printed = capsys.readouterr().out
    assert "| 3.10.1 | fairseq 0.12.2 | torch==2.4.0 |" in printed
    assert "cannot be installed: no such torch" in printed
    out.write_text(json.dumps(ROWS[0]) + "\n")
    assert matrix.main(["--table", "--out", str(out)]) == 0


@pytest.mark.slow
def test_a_small_load_has_all_figures():
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "load.py"),
        "--json",
        "--utterances",
        "300",
        "--minutes",
        "0.05",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (row,) = json.loads(done.stdout)
    assert row["steps"] > 0 and row["tokens_per_second"] > 0 and len(row["series"]) > 2
    assert row["units"] > 300 * 100 and min(row["build_s"], row["start_s"], row["private_last_mib"]) > 0
