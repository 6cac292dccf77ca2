"""Tries every reader with strange files: a value or an error of ours, at once, in little memory.

    make fuzz INPUTS=100000

What ends otherwise is printed with the line of our code it came from, and its file is kept in runs/fuzz. Each reader
has a process of its own. Where atheris is installed (`pip install 'sld-user-dir[fuzz]'`), code coverage guides what is
tried next.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, List, NoReturn, Sequence

from support.fuzz_case import GOOD, CaseFolder
from support.fuzz_loop import Loop
from support.text_readers import TextReader

MEMORY_BYTES = 3 << 30  # beside what the libraries took as they were loaded
NOT_COUNTS = ("reader", "seed", "guided", "seconds")


def loaded_readers(atheris: Any, only: str) -> List[TextReader]:
    """All readers, with all that they load; their code tells atheris what of it runs."""
    if atheris is not None:
        with atheris.instrument_imports(include=["sld_user_dir"]):
            return loaded_readers(None, only)
    from support.fuzz_targets import all_readers

    readers = [one for one in all_readers() if one.name.startswith(only)]
    for reader in readers:
        with tempfile.TemporaryDirectory() as folder:
            reader.write(Path(folder))
            reader.read(Path(folder))
    return readers


def row_of(loop: Loop, atheris: Any, scratch: Path) -> Dict[str, Any]:
    """Try a reader's inputs in a fork, so that an end of the process is an outcome, too: a row of the table."""
    result, started = scratch / "counts.json", time.monotonic()
    result.unlink(missing_ok=True)
    pid = os.fork()
    if not pid:
        _try_all(loop, atheris, result)
    _, status = os.waitpid(pid, 0)
    counts: Dict[str, int] = json.loads(result.read_text()) if result.exists() else {}
    if status:
        loop.keep("end", f"its process ended by {os.waitstatus_to_exitcode(status)}")
        counts["ended"] = 1
    return {"reader": loop.case.reader.name, "seconds": time.monotonic() - started, **counts}


def _try_all(loop: Loop, atheris: Any, result: Path) -> NoReturn:
    def done() -> NoReturn:
        result.write_text(json.dumps(loop.counts))
        sys.stdout.flush()
        os._exit(0)

    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
        if atheris is None:
            loop.blind()
            done()
        loop.guided(atheris, done)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def table(rows: Sequence[Dict[str, Any]]) -> str:
    """Reader × inputs × outcome, as Markdown; kinds of audio and of units are each one row."""
    sums: Dict[str, Counter[str]] = {}
    for row in rows:
        kind = row["reader"].split(",")[0].split(":")[0]
        for name in (kind, "~all"):
            counts = sums.setdefault(name, Counter())
            for outcome, count in row.items():
                if outcome not in NOT_COUNTS:
                    counts[outcome if outcome in GOOD else "neither"] += count
    lines = ["| reader | inputs | read | refused | neither |", "| --- | --- | --- | --- | --- |"]
    for name in sorted(sums):
        cells = [sums[name].total(), *(sums[name][outcome] for outcome in (*GOOD, "neither"))]
        lines.append(f"| {name.lstrip('~')} | " + " | ".join(f"{cell:,}" for cell in cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Try all readers, or print the table of all that was tried; 1 where a file was neither read nor refused."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="readers whose names begin so")
    parser.add_argument("--kept", type=Path, default=Path("runs/fuzz"), help="files that were neither, and all counts")
    parser.add_argument("--blind", action="store_true", help="without atheris")
    parser.add_argument("--table", action="store_true", help="only print the sum of all runs")
    options = parser.parse_args()
    log = options.kept / "counts.jsonl"
    if options.table:
        print(table([json.loads(line) for line in log.read_text().splitlines()]))
        return 0
    atheris = None if options.blind or find_spec("atheris") is None else __import__("atheris")
    readers, rows = loaded_readers(atheris, options.only), []
    options.kept.mkdir(parents=True, exist_ok=True)
    for number, reader in enumerate(readers):
        inputs = options.inputs // len(readers) + (number < options.inputs % len(readers))
        with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as scratch:
            os.environ["XDG_CACHE_HOME"] = str(Path(scratch) / "cache")
            loop = Loop(CaseFolder(reader, Path(scratch) / "case"), inputs, options.seed, options.kept)
            rows.append(row_of(loop, atheris, Path(scratch)))
        with log.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"seed": options.seed, "guided": atheris is not None, **rows[-1]}) + "\n")
    print(table(rows))
    return int(any(set(row) - {*NOT_COUNTS, *GOOD} for row in rows))


if __name__ == "__main__":
    sys.exit(main())
