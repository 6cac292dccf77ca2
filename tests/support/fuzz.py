"""Tries every reader with strange files: a value or an error of ours, at once, in little memory.

    make fuzz INPUTS=100000

What ends otherwise is printed with the line of our code it came from, and its file is kept in runs/fuzz.
"""

import argparse
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, List, NamedTuple, Optional

import numpy as np

from sld_user_dir.errors import InputError
from support.fuzz_mutations import mutated
from support.fuzz_targets import all_readers
from support.imports import PACKAGE
from support.text_readers import TextReader

SECONDS = 5
MEMORY_BYTES = 3 << 30  # beside what the libraries took as they were loaded


class Tried(NamedTuple):
    """What became of one file."""

    outcome: str
    """`value`, `refused`, or the kind of an error that is not ours"""
    where: str
    """the last line of ours that such an error passed"""


class TooSlow(BaseException):
    """A reader took longer than it may."""


def try_one(reader: TextReader, seed: int, folder: Path) -> Tried:
    """Write a reader's files, one of them changed as the seed says, and read them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rng = np.random.default_rng(seed)
    reader.write(folder, lambda content: mutated(content, rng))
    signal.signal(signal.SIGPROF, _too_slow)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(folder)
        return Tried("value", "")
    except InputError:
        return Tried("refused", "")
    except OSError as error:  # a file that another names: commands print both, as of any missing file
        if error.filename is not None and error.strerror is not None:
            return Tried("refused", "")
        return Tried(type(error).__name__, _last_of_ours(error))
    except (Exception, TooSlow) as error:
        return Tried(type(error).__name__, _last_of_ours(error))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _too_slow(number: int, frame: Optional[FrameType]) -> None:
    raise TooSlow(f"more than {SECONDS} s")


def _last_of_ours(error: BaseException) -> str:
    ours = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(str(PACKAGE))]
    place = f"{Path(ours[-1].filename).relative_to(PACKAGE)}:{ours[-1].lineno}" if ours else "not in our code"
    return f"{place}: {str(error)[:90]!r}"


def table(counts: "Counter[tuple[str, str]]") -> str:
    """Reader × inputs × outcome, as Markdown; kinds of audio and of units are each one row."""
    rows: Counter[Any] = Counter()
    for (name, outcome), count in counts.items():
        kind = name.split(",")[0].split(":")[0]
        rows[kind, outcome if outcome in ("value", "refused") else "other"] += count
    kinds = sorted({kind for kind, _ in rows})
    lines = [
        f"| {kind} | {sum(rows[kind, o] for o in ('value', 'refused', 'other'))} | {rows[kind, 'value']} "
        f"| {rows[kind, 'refused']} | {rows[kind, 'other']} |"
        for kind in [*kinds]
    ]
    totals = [sum(count for (_, o), count in rows.items() if o == outcome) for outcome in ("value", "refused", "other")]
    lines.append(f"| all | {sum(totals)} | {totals[0]} | {totals[1]} | {totals[2]} |")
    return "\n".join(["| reader | inputs | read | refused | neither |", "| --- | --- | --- | --- | --- |", *lines])


def run(readers: List[TextReader], inputs: int, seed: int, kept: Path) -> int:
    """Try readers in turn; returns how many files were neither read nor refused."""
    counts: Counter[tuple[str, str]] = Counter()
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as scratch:
        folder = Path(scratch) / "case"
        os.environ["XDG_CACHE_HOME"] = str(Path(scratch) / "cache")
        for number in range(seed, seed + inputs):
            reader = readers[number % len(readers)]
            tried = try_one(reader, number, folder)
            counts[reader.name, tried.outcome] += 1
            if tried.outcome not in ("value", "refused"):
                what = f"{tried.outcome} at {tried.where}"
                seen[what.split(": '")[0]] += 1
                if seen[what.split(": '")[0]] == 1:
                    print(f"{reader.name}, seed {number}: {what}", flush=True)
                    shutil.copytree(folder, kept / str(number), dirs_exist_ok=True)
    print(table(counts))
    return seen.total()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", default="", help="readers whose names begin so")
    parser.add_argument("--kept", type=Path, default=Path("runs/fuzz"), help="folder of the files that were neither")
    options = parser.parse_args()
    readers = [one for one in all_readers() if one.name.startswith(options.only)]
    for reader in readers:  # with all that they load
        with tempfile.TemporaryDirectory() as folder:
            reader.write(Path(folder))
            reader.read(Path(folder))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
    return int(bool(run(readers, options.inputs, options.seed, options.kept)))


if __name__ == "__main__":
    sys.exit(main())
