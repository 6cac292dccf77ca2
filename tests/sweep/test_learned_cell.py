"""Cells whose units are learnt: exported, extracted and decoded by the commands that a user would type."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from support.learned_units import noise_corpus
from support.miniature import TRAIN_OPTIONS

from sld_user_dir.errors import InputError
from sld_user_dir.experiment.fairseq_commands import Plan, System
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.sweep.cell_run import run_cell
from sld_user_dir.sweep.cells import cells_of
from sld_user_dir.sweep.learned_cell import PLAIN, decoding_plan, export_commands
from sld_user_dir.sweep.plan_file import read_plan


def plan_of(root: Path, **options: Any) -> Plan:
    (root / "out" / "1").mkdir(parents=True)
    (root / "out" / "1" / "checkpoint_best.pt").write_bytes(b"of this training")
    return Plan(root / "data", root / "out", ["test"], options, {})


SYSTEM = System("1", "", {})


def test_without_learnt_units_the_plan_itself_is_decoded(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert decoding_plan(plan, SYSTEM) is plan


def test_units_are_made_once_for_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, ran = plan_of(tmp_path, learn_units="kmeans.npz", unit_audio="recordings", unit_features="encoder"), []
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: ran.append(command[3:]) or SimpleNamespace(returncode=0)
    )
    decoded = decoding_plan(plan, SYSTEM)
    assert decoded.data == plan.directory(SYSTEM) / "units" and decoded.checkpoint == PLAIN
    assert [one[0] for one in ran] == ["export-kmeans", "units"]
    assert ran[1][1:3] == ["--audio", "recordings/test.audio.tsv"] and ran[1][-2:] == ["--features", "encoder"]
    assert decoding_plan(plan, SYSTEM) == decoded and len(ran) == 2
    (plan.directory(SYSTEM) / "checkpoint_best.pt").write_bytes(b"of a longer one")
    decoding_plan(plan, SYSTEM)
    assert len(ran) == 4


def test_units_that_cannot_be_made_are_told(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, learn_units="kmeans.npz")
    with pytest.raises(InputError, match=r"checkpoint_best.pt: its units could not be made: .*checkpoint"):
        decoding_plan(plan, SYSTEM)
    assert not (plan.directory(SYSTEM) / "units" / "made_from").exists()


def test_a_trained_encoder_is_that_of_the_units(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, learn_units="kmeans.npz", learn_encoder=True, unit_features="the start's")
    export, units = export_commands(plan, Path("cell"))
    assert export[-2:] == ["--encoder-out", "cell/units/encoder"] and units[-2:] == ["--features", "cell/units/encoder"]


@pytest.mark.slow
def test_a_cell_trains_exports_and_decodes(tmp_path: Path) -> None:
    data = noise_corpus(tmp_path / "data")
    train = {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(TRAIN_OPTIONS[::2], TRAIN_OPTIONS[1::2])
    }
    plan = {
        "title": "learnt units",
        "tuning": "none",
        "train": {**train, "max_update": 6, "learn_units": "{data}/kmeans.npz", "eval_wer": True},
        "generate": {"beam": 2, "max_len_a": 0, "max_len_b": 5, "cpu": True},
        "conditions": {"noise": {"description": "noise", "data": str(data), "test_sets": ["test"]}},
        "objectives": {"masked_ce": {"description": "text", "options": {"criterion": "masked_ce"}}},
        "cells": [{"conditions": ["noise"], "objectives": ["masked_ce"], "seeds": [1]}],
        "comparisons": [],
    }
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    read = read_plan(tmp_path / "plan.yaml")
    (row,) = run_cell(read, cells_of(read)[0], tmp_path / "out", threads=1)
    learned = read_manifest(tmp_path / "out/noise/masked_ce/1/units/test.tsv")
    assert learned.provenance.kmeans != read_manifest(data / "test.tsv").provenance.kmeans
    assert len(row["words"]) == len(learned) and "checkpoint_plain.pt" in row["commands"][1]
