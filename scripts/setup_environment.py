"""Make `.venv` and install everything into it; `make setup`, `make test` and `make demo` call this.

    python3 scripts/setup_environment.py [--python python3.11] [--torch "torch==2.9.1"] [--gpu | --cpu]

Standard library only, run by any Python from 3.7 on, so that it can say what is missing. A finished environment is
recognised by the marker `.venv/sld-environment.json` and left alone; choices that are not given are taken from it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, Dict, Iterator, List, Optional, Sequence, Tuple

from setup_toolchain import AGAIN, SetupError, check_compiler, choose_python, comes_compiled, probe, version_text

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
MARKER = VENV / "sld-environment.json"
LOG = ROOT / ".venv-setup.log"
LOCK = ROOT / ".venv-setup.lock"
DEFAULT_TORCH = "torch==2.13.0"  # the release that this project is tested with

# What a failed pip log shows, and what to do about it: the first that matches is reported.
REMEDIES = (
    (
        r"No space left on device",
        f"the disk is full: an environment takes 2.5 GB, with a CUDA build of torch 7 GB; make room, {AGAIN}",
    ),
    (
        r"NewConnectionError|NameResolutionError|Failed to establish a new connection|Network is unreachable|ProxyError"
        r"|ConnectTimeoutError|ReadTimeoutError|Temporary failure in name resolution|CERTIFICATE_VERIFY_FAILED"
        r"|Connection refused",
        f"no package index within reach: connect to the network or name a mirror in PIP_INDEX_URL, {AGAIN}",
    ),
    (
        r"fatal error: |error: command .*failed",
        f"the compiler failed on fairseq: see its message above, try another compiler by CXX=… CC=…, {AGAIN}",
    ),
    (
        r"No matching distribution found for ([^\s]+)",
        f"the package index has no {{0}} for this Python: try another by PYTHON=…, {AGAIN}",
    ),
    (
        r"(Cannot install .*conflicting|ResolutionImpossible)",
        "the requirements contradict each other: see above; is TORCH within the range of requirements-base.txt?",
    ),
)


# --- running steps ----------------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s" if seconds >= 60 else f"{seconds:.0f} s"


def last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def wait(process: subprocess.Popen[bytes], title: str, started: float) -> int:
    """Show that work goes on: each second in place on a terminal, a line each 30 s elsewhere."""
    terminal = sys.stdout.isatty()
    while True:
        try:
            return process.wait(timeout=1 if terminal else 30)
        except subprocess.TimeoutExpired:
            beat = f"{title}: {duration(time.monotonic() - started)} …"
            if terminal:
                print("\r" + f"{beat} {last_line(LOG)}"[: shutil.get_terminal_size().columns - 1] + "\033[K", end="")
            else:
                print(beat)
            sys.stdout.flush()


def run_step(title: str, command: Sequence[str], environment: Dict[str, str], log: IO[bytes]) -> None:
    log.write(f"\n$ {' '.join(command)}\n".encode())
    log.flush()
    if not sys.stdout.isatty():
        print(title, flush=True)
    started, offset = time.monotonic(), LOG.stat().st_size
    with subprocess.Popen(
        command, cwd=str(ROOT), env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
    ) as process:
        code = wait(process, title, started)
    ending = "\r\033[K" if sys.stdout.isatty() else ""
    if code:
        print(ending, end="", flush=True)
        raise SetupError(explain(LOG.read_bytes()[offset:].decode(errors="replace")))
    print(f"{ending}{title}: done in {duration(time.monotonic() - started)}", flush=True)


def explain(output: str) -> str:
    """One line for a failed step; where that does not say all, the log's last lines go before it."""
    remedy = f"a step failed: see above, {AGAIN}"
    for pattern, known in REMEDIES:
        match = re.search(pattern, output)
        if match:
            remedy = known.format(*match.groups())
            break
    if "above" in remedy:
        print("\n".join(output.rstrip().splitlines()[-15:]), file=sys.stderr)
    return f"{remedy} (log: {LOG})"


# --- what is installed ------------------------------------------------------------------------------------------------


def requirement_files(gpu: bool) -> List[Path]:
    names = ("requirements-gpu.txt" if gpu else "requirements.txt", "requirements-base.txt", "requirements-dev.txt")
    return [ROOT / name for name in names]


def requirements(gpu: bool) -> Tuple[List[str], List[str]]:
    """The lines of all requirement files without comments: (fairseq's, the rest)."""
    lines = [re.sub(r"\s*#.*", "", line) for path in requirement_files(gpu) for line in path.read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith("-r ")]
    ours = [line for line in lines if not line.startswith("fairseq")]
    return [line for line in lines if line.startswith("fairseq")], ours


def fingerprint(gpu: bool) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in requirement_files(gpu))).hexdigest()


def build_environment() -> Dict[str, str]:
    """Ours, without what would lead pip or the compiler astray."""
    drop = {
        "PYTHONPATH",
        "PYTHONHOME",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_USER",
        "PIP_REQUIREMENT",
        "__PYVENV_LAUNCHER__",
    }
    if os.environ.get("FAIRSEQ_CUDA") != "1":
        drop.add("CUDA_HOME")  # fairseq's setup.py compiles CUDA kernels wherever this is set
    environment = {key: value for key, value in os.environ.items() if key not in drop}
    environment["PATH"] = f"{VENV / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    environment["CFLAGS"] = f"{environment.get('CFLAGS', '')} -g0".strip()  # halves the compile time of torch's headers
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    return environment


def install(facts: Dict[str, Any], torch: str, gpu: bool, log: IO[bytes]) -> None:
    environment = build_environment()
    python = str(VENV / "bin" / "python")
    pip = [python, "-m", "pip", "install"]
    fairseq, ours = requirements(gpu)
    before_311 = facts["version"] < [3, 11]
    # pip from 24.1 on refuses the metadata of omegaconf 2.0, which fairseq 0.12.2 needs.
    tools = ["setuptools>=77.0.3", "wheel", "cython>=3", *(["pip<24.1"] if before_311 else [])]
    # The archive of 0.12.2 lacks the sources of its torch extensions and leaves them out where its build sees no
    # torch; fairseq-fixed is compiled against the torch that is installed.
    isolation = [] if before_311 else ["--no-build-isolation"]
    how = "download, 1 min" if comes_compiled(facts) else "compiles, 2 to 5 min"
    constraints = VENV / "torch-constraint.txt"
    packages = VENV / "requirements-installed.txt"

    run_step("[1/5] environment and build tools", [*pip, "--retries", "1", *tools], environment, log)
    run_step("[2/5] torch (0.2 GB for CPU, 3 GB with CUDA)", [*pip, torch, "numpy>=1.25,<3"], environment, log)
    show = [python, "-c", "from importlib.metadata import version; print('torch==' + version('torch'))"]
    constraints.write_bytes(subprocess.run(show, stdout=subprocess.PIPE, check=True).stdout)
    packages.write_text("\n".join(ours) + "\n")
    command = [*pip, "-r", str(packages), "-c", str(constraints)]
    run_step("[3/5] libraries and test tools (1 min)", command, environment, log)
    run_step(f"[4/5] fairseq ({how})", [*pip, "--no-deps", *isolation, *fairseq], environment, log)
    run_step("[5/5] sld_user_dir", [*pip, "--no-deps", "--no-build-isolation", "-e", "."], environment, log)


def check() -> None:
    """Refuse an environment in which something does not import; the checker names it."""
    print("Checking that everything imports (the first time it is read from disk) …", flush=True)
    command = [str(VENV / "bin" / "python"), str(ROOT / "scripts" / "check_environment.py")]
    if subprocess.run(command, check=False).returncode:
        raise SetupError(f"the environment was installed but does not work: see above (log: {LOG})")


# --- reuse or make ----------------------------------------------------------------------------------------------------


def read_marker() -> Dict[str, Any]:
    """The marker of `.venv`; {} where there is none. Refuses a `.venv` that somebody else made."""
    if not VENV.exists():
        return {}
    try:
        return dict(json.loads(MARKER.read_text()))
    except (OSError, ValueError):
        raise SetupError(f"{VENV} is not of this program's making: move it away, {AGAIN}") from None


def write_marker(content: Dict[str, Any]) -> None:
    aside = MARKER.with_suffix(".tmp")
    aside.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(str(aside), str(MARKER))


def reusable(marker: Dict[str, Any], wanted: Dict[str, Any], python: Optional[str]) -> bool:
    """Whether `.venv` is complete, of the wanted kind and still where it was made."""
    if not marker.get("complete") or any(marker.get(key) != value for key, value in wanted.items()):
        return False
    if python is not None and (probe(python) or {}).get("version") != marker["version"]:
        return False
    return (VENV / "bin" / "python").exists()


def set_up(python: Optional[str], torch: Optional[str], gpu: Optional[bool]) -> None:
    marker = read_marker()
    gpu = bool(marker.get("gpu")) if gpu is None else gpu
    torch = torch or marker.get("torch") or DEFAULT_TORCH
    wanted = {"torch": torch, "gpu": gpu, "venv": str(VENV), "fingerprint": fingerprint(gpu)}
    if reusable(marker, wanted, python):
        return
    base = marker.get("base")
    facts = choose_python(python or (base if base and probe(base) else None))
    if not comes_compiled(facts):
        check_compiler(facts)
    started = time.monotonic()
    kind = "GPU" if gpu else "CPU"
    print(f"Making {VENV} ({kind}) with Python {version_text(facts)}; pip's log: {LOG}", flush=True)
    wanted.update(version=facts["version"], base=facts["executable"])
    if VENV.exists():
        print("Removing the old one …", flush=True)
        shutil.rmtree(str(VENV))
    VENV.mkdir()
    write_marker({**wanted, "complete": False})  # an interrupted installation is recognised and made anew
    with LOG.open("wb") as log:
        make = [facts["executable"], "-m", "venv", str(VENV)]
        if subprocess.run(make, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False).returncode:
            raise SetupError(f"`{' '.join(make)}` failed: see {LOG}, or name another Python by PYTHON=/path/to/python")
        install(facts, torch, gpu, log)
    check()
    write_marker({**wanted, "complete": True})
    print(f"Environment ready in {duration(time.monotonic() - started)}.", flush=True)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One set-up at a time: a second one waits, and finds the work done. What a killed one held is free at once."""
    try:
        lock = LOCK.open("w")
    except OSError:  # nothing can be made here; what is there may do
        yield
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("setup: another set-up is at work here; waiting until it is done …", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--python", help="interpreter: 3.10, 3.11 or 3.12 (default: the first found, 3.11 preferred)")
    parser.add_argument("--torch", help=f"what pip is to install as torch, e.g. a GPU build (default: {DEFAULT_TORCH})")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--gpu", dest="gpu", action="store_true", default=None, help="faiss-gpu instead of faiss-cpu")
    kind.add_argument("--cpu", dest="gpu", action="store_false", default=None, help="back to faiss-cpu")
    arguments = parser.parse_args(argv)
    try:
        with alone():
            set_up(arguments.python, arguments.torch, arguments.gpu)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsetup: interrupted; the same command starts over", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
