"""One cell: train, decode, score, and leave its rows in its folder.

Run as a process of its own, `python -m sld_user_dir.sweep.cell_run PLAN CELL OUT THREADS`, on this machine or by SLURM.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional, Sequence

from sld_user_dir.errors import InputError
from sld_user_dir.experiment.fairseq_commands import (
    LOG_FILE,
    PACKAGE,
    Plan,
    System,
    generate_command,
    shown,
    train_command,
)
from sld_user_dir.experiment.runner import decode_all, train_all
from sld_user_dir.experiment.training_log import Curves, read_curves
from sld_user_dir.files import atomic_path, output_lock, read_text
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.scoring.hypotheses import read_generate
from sld_user_dir.scoring.rates import AS_IS, score_records
from sld_user_dir.sweep.cells import Cell, cells_of, command_plan, fingerprint
from sld_user_dir.sweep.learned_cell import decoding_plan
from sld_user_dir.sweep.plan_file import SweepPlan, read_plan
from sld_user_dir.sweep.rows import SweepRow

ROWS = "rows.json"
CURVE_KEYS = ("num_updates", "wer", "text", "text_accuracy", "speech", "ctc")


def cell_directory(cell: Cell, out: Path) -> Path:
    """Where a cell's checkpoints, log, hypotheses and rows stand."""
    return out / cell.name


def run_cell(plan: SweepPlan, cell: Cell, out: Path, threads: int) -> list[SweepRow]:
    """Train, decode and score a cell, going on where an earlier call stopped; its rows, also written to its folder.

    Another process at the same cell is waited for.

    Raises:
        ExperimentError: training or decoding failed.
        InputError: data that cannot be used.
    """
    with output_lock(cell_directory(cell, out)):
        return _run_alone(plan, cell, out, threads)


def _run_alone(plan: SweepPlan, cell: Cell, out: Path, threads: int) -> list[SweepRow]:
    made, system = command_plan(plan, cell, out, threads)
    earlier = _earlier_training(cell_directory(cell, out) / ROWS)
    started, resumed = time.time(), (made.directory(system) / LOG_FILE).exists()
    train_all(made, [system], jobs=1)
    trained = time.time()
    decoded = decoding_plan(made, system)
    decode_seconds = decode_all(decoded, [system], jobs=1)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    facts = {
        "cell": cell.name,
        "fingerprint": fingerprint(plan, cell),
        "status": "done",
        **version(),
        "machine": machine(),
        "threads": threads,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        # a training that went on after a kill has its first part's time in no call
        "train_seconds": None if resumed else round(trained - started, 1),
        "cpu_seconds": None if resumed else round(usage.ru_utime + usage.ru_stime, 1),
        **learning(read_curves(made.directory(system) / LOG_FILE)),
    }
    if earlier and earlier["updates"] == facts["updates"]:  # what had been trained was only decoded, or not even that
        if earlier.pop("fingerprint") != facts["fingerprint"]:
            earlier["remark"] = f"test sets decoded at {facts['commit']}"
        facts.update(earlier)
    seconds = {name: decode_seconds[system.name, name] for name in made.test_sets}
    rows = [{**facts, **scores(made, decoded, system, name, seconds[name])} for name in made.test_sets]
    with atomic_path(cell_directory(cell, out) / ROWS) as aside:
        aside.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def _earlier_training(path: Path) -> SweepRow:
    """What an earlier call said of the training, which a plan with other test sets leaves as it is."""
    if not path.exists():
        return {}
    row = json.loads(read_text(path))[0]
    kept = ("commit", "sources", "machine", "train_seconds", "cpu_seconds", "updates", "fingerprint", "remark")
    return {key: row[key] for key in kept if key in row}


def scores(plan: Plan, decoded: Plan, system: System, test_set: str, seconds: float) -> SweepRow:
    """Edits of every utterance of a test set, in the manifest's order, of what was trained and then decoded so."""
    manifest = read_manifest(decoded.data / f"{test_set}.tsv")
    records = read_generate(plan.directory(system) / "decode" / f"generate-{test_set}.txt", manifest)
    scored = score_records(records, AS_IS)
    return {
        "test_set": test_set,
        "decode_seconds": seconds,
        "word_errors": [one.words.errors for one in scored],
        "words": [one.words.reference_length for one in scored],
        "char_errors": [one.char_errors for one in scored],
        "chars": [one.chars for one in scored],
        "speakers": [str(one.record.fields.get("speaker", "")) for one in scored],
        "commands": [shown(train_command(plan, system)), shown(generate_command(decoded, system, test_set))],
    }


def learning(curves: Curves) -> dict[str, Any]:
    """The points of validation, and how many updates there were."""
    points = [{key: point[key] for key in CURVE_KEYS if key in point} for point in curves.valid]
    return {"updates": curves.updates, "valid": points}


def version() -> dict[str, Optional[str]]:
    """The commit of this checkout, or what SLD_COMMIT says where there is none, and a hash of the package's sources."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes())
    command = ["git", "-C", str(PACKAGE), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        commit = done.stdout.strip() if done.returncode == 0 else os.environ.get("SLD_COMMIT")
    except OSError:
        commit = os.environ.get("SLD_COMMIT")
    return {"commit": commit, "sources": digest.hexdigest()[:12]}


def machine() -> str:
    """What the cell ran on: the GPU's name where there is one, else the processor's architecture."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU {platform.machine()}, {os.cpu_count()} cores"


def main(argv: Optional[Sequence[str]] = None) -> int:
    plan_path, name, out, threads = sys.argv[1:] if argv is None else argv
    try:
        plan = read_plan(Path(plan_path))
        cell = next(one for one in cells_of(plan) if one.name == name)
        run_cell(plan, cell, Path(out), int(threads))
    except (InputError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
