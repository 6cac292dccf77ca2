"""A new term is a file: the guide's, and one that stands in this test alone and trains through `--criterion sld`."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
from support.fairseq_logs import logged
from support.guides import module_of, python_blocks
from support.miniature import ROOT, TRAIN_OPTIONS
from torch import Tensor

from sld_user_dir.losses import term as terms
from sld_user_dir.losses.positions import Positions
from sld_user_dir.losses.statistics import Statistics
from sld_user_dir.losses.term import Context, PositionTerm, register_term


@dataclass
class BrevityOptions:
    """Options of the new term."""

    brevity_weight: float = field(default=0.0, metadata={"help": "factor of -log P(</s>) at the separator"})


@dataclass(frozen=True)
class Brevity(PositionTerm):
    """A term that nobody wants: the logit of the target against all, at the separators, a mean over sentences."""

    name = "brevity"
    Options = BrevityOptions
    weight: float

    @classmethod
    def from_options(cls, options: Any, context: Context) -> Optional["Brevity"]:
        return cls(options.brevity_weight) if options.brevity_weight else None

    def positions(self, at: Positions) -> Tensor:
        return at.is_separator

    def value(self, stats: Statistics, at: Positions) -> Tensor:
        return 2 * stats.full - stats.target - stats.unit_sum / at.layout.num_units

    def divisor(self, at: Positions) -> Tensor:
        return at.count_sentences(~at.is_padding)


def train(data: Path, save_dir: Path, form: str) -> List[Dict[str, str]]:
    """Train by fairseq-train with the term above, in a process that runs this file; what it logged."""
    options = ["--criterion", "sld", "--brevity-weight", "0.5", "--loss-form", form, "--max-update", "4"]
    options += ["--dropout", "0", "--attention-dropout", "0", "--update-freq", "2"]
    paths = ["--user-dir", ROOT / "sld_user_dir", "--task", "speech_unit_lm", "--save-dir", save_dir]
    command = [sys.executable, __file__, data, *TRAIN_OPTIONS, *options, *paths]
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return logged((done.stdout + done.stderr).splitlines(), "train_inner")


def test_a_term_of_this_file_trains_fused_and_plain_with_the_same_numbers(mini: Path, tmp_path: Path) -> None:
    fused, plain = (train(mini, tmp_path / form, form) for form in ("fused", "plain"))
    assert len(fused) == len(plain) == 4
    for one, other in zip(fused, plain):
        assert float(one["loss_brevity"]) > 0
        for key in ("loss", "loss_brevity", "brevity", "loss_text", "loss_speech", "loss_kl", "gnorm"):
            assert float(one[key]) == pytest.approx(float(other[key]), abs=2e-3), key
        parts = sum(float(value) for key, value in one.items() if key.startswith("loss_") and key != "loss_scale")
        assert float(one["loss"]) == pytest.approx(parts, abs=5e-3)
    assert float(fused[-1]["loss_brevity"]) < float(fused[0]["loss_brevity"])


def test_the_guides_blocks_run_as_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "_REGISTERED", dict(terms._REGISTERED))
    source, test = python_blocks("add_a_loss_term.md")
    module = module_of(source, "guide_modality", monkeypatch)
    assert module.Modality in terms.term_classes()
    namespace = {"Modality": module.Modality}
    exec(test, namespace)
    namespace["test_modality_and_the_unit_are_ce_speech"]()


def test_two_terms_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "_REGISTERED", dict(terms._REGISTERED))
    register_term(Brevity)
    other = type("Other", (Brevity,), {"__qualname__": "Other"})
    with pytest.raises(ValueError, match="registered twice, as Brevity and Other"):
        register_term(other)


if __name__ == "__main__":
    register_term(Brevity)
    from fairseq_cli.train import cli_main

    cli_main()
