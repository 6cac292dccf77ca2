"""What passes under which Python, fairseq and torch: an environment for each combination, one after the other.

    python scripts/matrix.py                            # all of them: about a quarter of an hour each
    python scripts/matrix.py --only 3.12/newest --tests tests/losses tests/golden

Each runs in a clone of the committed sources with its own `.venv`, made by `scripts/setup_environment.py`, so what is
tried is what users get. The next takes its place, so 8 GB of disk are enough. The interpreters are looked for among
pyenv's and on PATH. A row is appended to --out as it is done; rows that are there, of the same commit and tests, are
not run again. With --folder the clone stays, and an interrupted run goes on in it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Optional, Sequence

from sld_user_dir.files import read_log, read_text

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10", "3.11", "3.12")
FAST = ("tests/golden", "tests/losses", "tests/criterions", "tests/search", "tests/manifests", "tests/vocabulary")
"""What depends most on torch, numpy and fairseq: numbers of an earlier commit, gradients, search, memory maps."""
IMPORTS = ("tests/tasks/test_task.py", "tests/tasks/test_resume.py", "tests/models/test_joint_lm.py")


def torch_range() -> tuple[str, str]:
    """The oldest and the newest torch that requirements-base.txt admits, as pip takes them."""
    text = read_text(ROOT / "requirements-base.txt")
    found = re.search(r"^torch(>=([\d.]+),<\d+)", text, re.M)
    assert found, "requirements-base.txt has no line torch>=…,<…"
    return f"torch=={found[2]}.0", f"torch{found[1]}"


def interpreter(version: str) -> Optional[str]:
    """Where the Python of a version lies; the newest patch release of pyenv's where there are several."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    patches = sorted(
        pyenv.glob(f"{version}.*/bin/python"), key=lambda path: [int(n) for n in re.findall(r"\d+", path.parts[-3])]
    )
    return str(patches[-1]) if patches else shutil.which(f"python{version}")


def run(command: Sequence[str], cwd: Path, log: Path) -> int:
    """Run a step, its output appended to the log; the exit status."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PIP_NO_INPUT": "1"}
    with log.open("ab") as out:
        return subprocess.run(command, cwd=cwd, env=environment, stdout=out, stderr=out, check=False).returncode


def versions(python: Path) -> dict[str, str]:
    """Releases that an environment has."""
    code = (
        "import importlib.metadata as m, json, platform\n"
        "names = {d.metadata['Name'].lower() for d in m.distributions()}\n"
        "wanted = ('torch', 'fairseq', 'fairseq-fixed', 'numpy', 'transformers')\n"
        "print(json.dumps({'python': platform.python_version(), **{n: m.version(n) for n in wanted if n in names}}))"
    )
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def try_one(name: str, torch: str, tests: Sequence[str], clone: Path, log: Path) -> dict[str, Any]:
    """Set up, then test: a row of the table."""
    started = time.monotonic()
    python = interpreter(name.partition("/")[0])
    if python is None:
        return {"outcome": "no interpreter"}
    if run([python, "scripts/setup_environment.py", "--python", python, "--torch", torch, "--cpu"], clone, log):
        return {"outcome": "cannot be installed", "said": last_line(log), "seconds": round(time.monotonic() - started)}
    installed = time.monotonic()
    venv = clone / ".venv" / "bin" / "python"
    before = log.stat().st_size
    run([str(venv), "-m", "pytest", "-q", "-m", "not slow and not gpu", "-p", "no:cacheprovider", *tests], clone, log)
    output = log.read_bytes()[before:].decode("utf-8", "replace")
    return {
        **versions(venv),
        "outcome": last_line(log).strip("= "),
        "failed": re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.M),
        "setup_seconds": round(installed - started),
        "test_seconds": round(time.monotonic() - installed),
    }


def last_line(log: Path) -> str:
    """The last line with something on it."""
    lines = read_log(log)
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown, a row a combination."""
    lines = ["| Python | fairseq | torch | numpy | outcome | set-up |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        fairseq = f"fairseq {row['fairseq']}" if "fairseq" in row else f"fairseq-fixed {row.get('fairseq-fixed', '–')}"
        cells = (row.get("python", row["name"]), fairseq, row.get("torch", row["wanted"]), row.get("numpy", "–"))
        outcome = row["outcome"] + (f": {row['said']}" if row.get("said") else "")
        lines.append("| " + " | ".join((*cells, outcome, f"{row.get('setup_seconds', 0)} s")) + " |")
    return "\n".join(lines)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Try each combination; 1 if one of them fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="*", help="combinations such as 3.10/oldest (default: all)")
    parser.add_argument("--tests", nargs="*", default=[*FAST, *IMPORTS], help="what pytest runs (default: a fast part)")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "matrix.jsonl", help="rows, one a line")
    parser.add_argument("--folder", type=Path, help="where the clone is made, and kept (default: a temporary folder)")
    parser.add_argument("--table", action="store_true", help="only print the table of the rows that are there")
    arguments = parser.parse_args(argv)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    wanted = {f"{python}/{age}": torch for python in PYTHONS for age, torch in zip(("oldest", "newest"), torch_range())}
    lines = read_text(arguments.out).split("\n") if arguments.out.exists() else []
    rows = [json.loads(line) for line in lines if line]
    with tempfile.TemporaryDirectory(prefix="sld-matrix-") as folder:
        clone = (arguments.folder or Path(folder)).absolute() / "clone"
        if not (clone.exists() or arguments.table):
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        sources = ROOT if arguments.table else clone
        commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=sources, text=True).strip()
        for name in [] if arguments.table else arguments.only or wanted:
            if any((row["name"], row["commit"], row["tests"]) == (name, commit, arguments.tests) for row in rows):
                continue
            log = arguments.out.with_name(f"matrix-{name.replace('/', '-')}.log")
            log.write_bytes(b"")
            found = try_one(name, wanted[name], arguments.tests, clone, log)
            rows.append({"name": name, "wanted": wanted[name], "commit": commit, "tests": arguments.tests, **found})
            with arguments.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(rows[-1]) + "\n")
            print(f"{name}: {rows[-1]['outcome']}", flush=True)
    print(table(rows))
    return int(any(" passed" not in row["outcome"] or row.get("failed") for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
