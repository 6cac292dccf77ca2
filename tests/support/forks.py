"""fairseq's programs in forks of a process that has imported fairseq, so that tests need not wait for that each time.

A fork runs what the program's entry point runs, as a process of its own, with arguments, folder, environment and
outputs of its own. It has not imported this package. Tests of registration start
fresh interpreters instead.
"""

import atexit
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Callable, Dict, NoReturn, Optional, Sequence

_server: Optional["subprocess.Popen[str]"] = None


def run_forked(
    words: Sequence[str], folder: Path, environment: Dict[str, str], seconds: float = 300
) -> "subprocess.CompletedProcess[str]":
    """Run a console program of the installed packages, with nothing to read.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    server = _running_server(environment)
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory() as outputs:
        paths = [Path(outputs) / name for name in ("stdout", "stderr")]
        job = {"words": list(words), "folder": str(folder), "environment": environment}
        job.update(outputs=list(map(str, paths)), seconds=seconds)
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        status = json.loads(server.stdout.readline())
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in paths)
    if status is None:
        raise subprocess.TimeoutExpired(list(words), seconds, out, err)
    return subprocess.CompletedProcess(list(words), status, out, err)


def run_fresh(
    words: Sequence[str], folder: Path, environment: Dict[str, str], seconds: float = 300
) -> "subprocess.CompletedProcess[str]":
    """The same by a fresh interpreter.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    program = Path(sys.executable).with_name(words[0])
    return subprocess.run(
        [str(program), *words[1:]],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        timeout=seconds,
        check=False,
    )


def _running_server(environment: Dict[str, str]) -> "subprocess.Popen[str]":
    """The process that forks, started at the first call; it ends with this one, which holds its input."""
    global _server
    if _server is None:
        command = [sys.executable, __file__]
        _server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, encoding="utf-8"
        )
    return _server


def _serve() -> None:
    """Fork for each job that stands on a line of the input, and answer with its exit status."""
    import fairseq  # noqa: F401

    gc.freeze()  # collections in forks need not copy what was there before
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if not pid:
            _end_as(partial(_become, job))
        print(json.dumps(_status_of(pid, job["seconds"])), flush=True)


def _status_of(pid: int, seconds: float) -> Optional[int]:
    """The exit status of a fork; None if it had to be killed because it took longer."""
    watch = threading.Timer(seconds, os.kill, (pid, signal.SIGALRM))
    watch.start()
    _, status = os.waitpid(pid, 0)
    watch.cancel()
    code = os.waitstatus_to_exitcode(status)
    return None if code == -signal.SIGALRM else code


def _become(job: Dict[str, Any]) -> Any:
    """Be the program that the job names; what it returns."""
    for descriptor, path in zip((1, 2), job["outputs"]):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = os.fdopen(0)
    logging.root.handlers.clear()  # a program sets them up before it imports fairseq
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.argv = job["words"]
    sys.path.pop(0)  # the folder of this file
    (entry,) = entry_points(group="console_scripts", name=sys.argv[0])
    return entry.load()()


def _end_as(run: Callable[[], Any]) -> NoReturn:
    """End the process as the interpreter does, but for freeing every object, which takes a second in a fork."""
    try:
        status = run()
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


if __name__ == "__main__":
    _serve()
