"""Time and memory of rival implementations, measured so that the figures can be compared.

CPU seconds of this process (they don't count what other processes do), in interleaved rounds, so
that a slow spell of the machine meets all rivals; medians. Peak memory is the kernel's VmHWM in a
fresh process, reset after the inputs are built (`ru_maxrss` survives exec: a child would report
its parent's peak).
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Sequence

MIB = 2**20


def median_cpu_seconds(rivals: Dict[str, Callable[[], object]], repeats: int) -> Dict[str, float]:
    """Median CPU seconds of each rival over `repeats` interleaved rounds, after one warm-up."""
    seconds: Dict[str, List[float]] = {name: [] for name in rivals}
    for round_number in range(repeats + 1):
        for name, run in rivals.items():
            start = time.process_time()
            run()
            elapsed = time.process_time() - start
            if round_number:
                seconds[name].append(elapsed)
            note(f"round {round_number}/{repeats}: {name} {elapsed:.2f} s")
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_mib_above_now(run: Callable[[], object]) -> float:
    """MiB by which `run` raises this process's peak memory above what it holds now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM := VmRSS
    before = _status_kib("VmHWM")
    run()
    return (_status_kib("VmHWM") - before) * 1024 / MIB


def in_fresh_process(script: str, arguments: Sequence[str]) -> float:
    """Run `python script *arguments`, which prints one number, and return it."""
    command = [sys.executable, script, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{finished.stderr}")
    return float(finished.stdout.split()[-1])


def note(message: str) -> None:
    """Progress goes to stderr: stdout holds the result alone."""
    print(message, file=sys.stderr, flush=True)


def _status_kib(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}: peak memory needs Linux")
