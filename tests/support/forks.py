"""Console programs in forks of a process that has imported fairseq, so that tests need not wait for that each time.

A fork runs what the program's entry point runs, as a process of its own, with arguments, folder, environment and
streams of its own. It has not imported this package, nor what `PYTHONPATH` adds. Tests of registration start fresh
interpreters instead.

    run_forked(["fairseq-train", …], folder, environment)   from a test
    forwarding_programs(folder, "fairseq-train", "sld")     programs that other programs start, such as a recipe
"""

import atexit
import contextlib
import gc
import importlib
import json
import logging
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Callable, Dict, NoReturn, Optional, Sequence, Tuple

FAIRSEQ = ("fairseq",)
WITH_TRANSFORMERS = ("fairseq", "transformers.models.wavlm.modeling_wavlm", "transformers.models.gpt2.modeling_gpt2")
_servers: Dict[Tuple[str, ...], Path] = {}  # by what they have imported, the socket that they listen at


class TimedOut(Exception):
    """A fork took too long, and was killed."""


# -- in tests --------------------------------------------------------------------------
def run_forked(
    words: Sequence[str],
    folder: Path,
    environment: Dict[str, str],
    seconds: float = 300,
    imported: Tuple[str, ...] = FAIRSEQ,
) -> "subprocess.CompletedProcess[str]":
    """Run a console program of the installed packages, or `module:function`, with nothing to read.

    Args:
        seconds: after these it is killed.
        imported: modules that the process which forks has imported.

    Raises:
        TimedOut: it took longer.
    """
    address = _server(imported)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull, "rb") as nothing:
        streams = [stream.fileno() for stream in (nothing, out, err)]
        status = _ask(address, words, str(folder), environment, streams, seconds)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", errors="replace"))
    return subprocess.CompletedProcess(list(words), status, *texts)


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


def forwarding_programs(folder: Path, *names: str, imported: Tuple[str, ...] = FAIRSEQ) -> Path:
    """Write programs that have a fork do their work, and `python` beside them; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    client = shlex.join([sys.executable, "-S", "-E", __file__, "--at", str(_server(imported))])
    for name in names:
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {client} {name} "$@"\n')
        program.chmod(0o755)
    (folder / "python").symlink_to(sys.executable)
    return folder


def _server(imported: Tuple[str, ...] = FAIRSEQ) -> Path:
    """The socket of a process that forks, started at the first call; the process ends with this one."""
    if imported not in _servers:
        address = Path(tempfile.mkdtemp(prefix="forks-")) / "socket"
        atexit.register(shutil.rmtree, address.parent, ignore_errors=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # read as torch is imported
        command = [sys.executable, __file__, "--serve", str(address), *imported]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert process.stdout is not None and process.stdout.readline(), "the process that forks did not start"
        _kept_open.append(process)
        _servers[imported] = address
    return _servers[imported]


_kept_open: list = []  # the processes' inputs: they end where these close


def _ask(
    address: Path,
    words: Sequence[str],
    folder: str,
    environment: Dict[str, str],
    streams: Sequence[int],
    seconds: Optional[float] = None,
) -> int:
    """Have a program run with these input, output and error streams; returns its exit status."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(address))
        socket.send_fds(connection, [b"streams"], list(streams))
        job = {"words": list(words), "folder": folder, "environment": environment}
        with connection.makefile("rw", encoding="utf-8") as lines:
            lines.write(json.dumps(job) + "\n")
            lines.flush()
            pid = int(lines.readline())
            connection.settimeout(seconds)
            try:
                return int(lines.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise TimedOut(f"{shlex.join(words)} took more than {seconds} s") from None


# -- the process that forks ------------------------------------------------------------
def _serve(address: str, imported: Sequence[str]) -> None:
    for name in imported:
        importlib.import_module(name)
    gc.freeze()  # collections in forks need not copy what was there before
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        watched = os.fork()
        if not watched:
            _accept(listener)
        sys.stdin.read()  # ends with the tests
        os.kill(watched, signal.SIGKILL)


def _accept(listener: socket.socket) -> NoReturn:
    """Fork for each connection, and tell it the fork's id, then its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks made here
    while True:
        connection, _ = listener.accept()
        if os.fork():
            connection.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with contextlib.suppress(BrokenPipeError), connection:  # whoever waited for too long has gone
            _, streams, _, _ = socket.recv_fds(connection, len(b"streams"), 3)
            with connection.makefile("rw", encoding="utf-8") as lines:
                job = json.loads(lines.readline())
                pid = os.fork()
                if not pid:
                    _end_as(partial(_become, job, streams))
                for stream in streams:
                    os.close(stream)
                lines.write(f"{pid}\n")
                lines.flush()
                _, status = os.waitpid(pid, 0)
                lines.write(f"{os.waitstatus_to_exitcode(status)}\n")
        os._exit(0)


def _become(job: Dict[str, Any], streams: Sequence[int]) -> Any:
    """Be the program that the job names; what it returns."""
    for descriptor, stream in enumerate(streams):
        os.dup2(stream, descriptor)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    logging.root.handlers.clear()  # a program sets them up before it imports fairseq
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.argv = job["words"]
    if "KILL_AT" in os.environ:
        importlib.import_module("kill_points").arm()
    sys.path.pop(0)  # the folder of this file
    module, _, function = sys.argv[0].partition(":")
    if function:
        return getattr(importlib.import_module(module), function)()
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
    _, option, where, *rest = sys.argv
    if option == "--serve":
        _serve(where, rest)
    else:
        sys.exit(_ask(Path(where), rest, os.getcwd(), dict(os.environ), (0, 1, 2)))
