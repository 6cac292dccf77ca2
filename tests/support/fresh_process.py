"""Python code in a process of its own, as a user's: warnings are printed, nothing is imported yet."""

import json
import os
import subprocess
import sys
from typing import Any, NamedTuple

from support.miniature import ROOT


class Ended(NamedTuple):
    """What a process left."""

    value: Any  # of the JSON that it printed last; None without
    stdout: str
    stderr: str


def run_python(code: str, *arguments: object) -> Ended:
    """Run code, to which `arguments` are `sys.argv[1:]`; an error there is one here."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**environment, "OMP_NUM_THREADS": "1"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    lines = done.stdout.strip().splitlines()
    try:
        value = json.loads(lines[-1]) if lines else None
    except ValueError:
        value = None
    return Ended(value, done.stdout, done.stderr)
