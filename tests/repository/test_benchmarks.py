"""That a benchmark's rivals compute the same thing: a ratio of times says nothing otherwise."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the script adds to it
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("padding", [0.0, 0.2])
def test_the_authors_form_of_the_loss_is_our_official_objective(monkeypatch, padding: float) -> None:
    benchmark = load("loss", monkeypatch)
    problem = benchmark.Problem(benchmark.Shape(3, 256, 16, 100, 50, padding))
    found = []

    def keep(loss: torch.Tensor) -> None:
        found.append([loss.detach(), *torch.autograd.grad(loss, [problem.hidden, problem.weight])])

    monkeypatch.setattr(problem, "_backward", keep)
    problem.authors()
    problem.ours("sld-official")
    for theirs, ours in zip(*found):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
