"""The package computes what it computed before its core was cut free of fairseq, and reads the files of then."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sld_user_dir.manifests.memory_map import open_manifest
from sld_user_dir.manifests.unit_manifest import read_manifest

HERE = Path(__file__).resolve().parent
TOLERANCE = {"losses": 1e-9, "training": 2e-3, "decoding": 2e-4, "files": 1e-3}
"""Relative and absolute: float64; float32, as fairseq logs it; printed to four places; k-means in float32."""


@pytest.fixture(scope="session")
def observed(tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("golden") / "observed.json"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(HERE / "observe.py"), str(out)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


def differences(expected: Any, found: Any, tolerance: float, where: str = "") -> list:
    """Where two JSON values differ: numbers, also those that fairseq logs as text, by more than the tolerance."""
    if isinstance(expected, dict) and isinstance(found, dict):
        names = expected.keys() | found.keys()
        nothing = object()
        return [
            line
            for name in sorted(names)
            for line in differences(expected.get(name, nothing), found.get(name, nothing), tolerance, f"{where}/{name}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            line
            for i, (one, other) in enumerate(zip(expected, found))
            for line in differences(one, other, tolerance, f"{where}/{i}")
        ]
    try:
        same = math.isclose(float(expected), float(found), rel_tol=tolerance, abs_tol=tolerance)
    except (TypeError, ValueError):
        same = without_hash(expected) == without_hash(found)
    return [] if same else [f"{where}: {found!r}, not {expected!r}"]


def without_hash(value: Any) -> Any:
    """The hash of centroids is one of their last bits, which another processor may round differently."""
    return re.sub(r"sha256:[0-9a-f]{64}", "sha256", value) if isinstance(value, str) else value


@pytest.mark.parametrize("part", TOLERANCE)
def test_nothing_has_changed(observed: dict, part: str) -> None:
    expected = json.loads((HERE / "expected.json").read_text())
    assert expected[part]
    found = differences(expected[part], observed[part], TOLERANCE[part])
    assert not found, f"{len(found)} differences, such as\n" + "\n".join(found[:20])


def test_the_comparison_sees_a_difference() -> None:
    expected = {"a": [1.0, {"b": "1.500"}], "c": "text"}
    assert not differences(expected, {"a": [1.0 + 1e-12, {"b": "1.500"}], "c": "text"}, 1e-9)
    assert len(differences(expected, {"a": [1.0 + 1e-6, {"b": "1.501"}], "c": "else", "d": 0}, 1e-9)) == 4


def test_a_memory_map_of_then_is_still_used(tmp_path: Path) -> None:
    shutil.copytree(HERE / "data" / "asr", tmp_path / "asr")
    shutil.rmtree(tmp_path / "asr" / ".mmap", ignore_errors=True)
    shutil.copytree(HERE / "data" / "memory_map", tmp_path / "asr" / ".mmap")
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    mapped = open_manifest(tmp_path / "asr" / "train.tsv")
    assert [p.relative_to(tmp_path) for p in sorted(tmp_path.rglob("*")) if p.suffix != ".lock"] == before
    plain = read_manifest(tmp_path / "asr" / "train.tsv")
    assert np.array_equal(mapped.units, plain.units) and np.array_equal(mapped.offsets, plain.offsets)
    assert mapped.column("text") == plain.column("text") and mapped.provenance == plain.provenance
