"""The example notebook: every cell runs in a fresh interpreter, and no output is kept in the repository.

Its cells are plain Python, so they run without Jupyter here: one namespace, in order, the first exception fails.
"""

import json
import os
import subprocess
import sys

import pytest
from support.miniature import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
RUNNER = """
import json, sys
cells = [c for c in json.load(open(sys.argv[1], encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
namespace = {"__name__": "__main__"}
for number, cell in enumerate(cells):
    exec(compile("".join(cell["source"]), f"cell {number}", "exec"), namespace)
    print(f"ran cell {number}")
"""


def code_cells(path) -> list:
    return [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]


def run(path, **variables) -> subprocess.CompletedProcess:
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, "-c", RUNNER, str(path)],
        capture_output=True,
        text=True,
        cwd=path.parent,
        env=environment,
        timeout=300,
    )


def test_there_is_a_notebook():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_kept(path):
    for cell in code_cells(path):
        assert cell["outputs"] == [] and cell["execution_count"] is None


def test_a_cell_that_fails_fails_the_run(tmp_path):
    cells = [{"cell_type": "code", "source": [line]} for line in ("x = 1", "assert x == 2", "x = 3")]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}))
    done = run(tmp_path / "n.ipynb")
    assert done.returncode != 0 and "cell 1" in done.stderr and done.stdout.splitlines() == ["ran cell 0"]


def test_the_digits_notebook_runs(tmp_path):
    path = ROOT / "examples" / "digits.ipynb"
    done = run(path, SLD_NOTEBOOK_UPDATES="20", SLD_NOTEBOOK_OUT=str(tmp_path))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("ran cell")] == [
        f"ran cell {i}" for i in range(len(code_cells(path)))
    ]
    assert any(line.startswith("20 updates in ") for line in lines)
    assert any(line.startswith("WER ") for line in lines)
    assert (tmp_path / "checkpoint_best.pt").exists()
