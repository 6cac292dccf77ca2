"""Plan files: what they say, and which error names what is wrong."""

import re
import shutil
from dataclasses import replace

import pytest
from support.miniature import ROOT
from support.sweeps import DATA, plan_content, write_plan

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.unit_manifest import read_manifest, write_manifest
from sld_user_dir.sweep.cells import cells_of, command_plan, fingerprint
from sld_user_dir.sweep.plan_file import read_plan
from sld_user_dir.sweep.rows import current_rows, read_rows

BLOCK = {"conditions": ["small"], "objectives": ["sld"], "seeds": [1]}
CONDITION = plan_content()["conditions"]["small"]


def test_options_of_the_objective_come_last(tmp_path):
    conditions = {"small": {**CONDITION, "train": {"lr": 0.5, "dropout": 0.3, "init_unit_embeddings": "{data}/k.npz"}}}
    objectives = {"sld": {"description": "", "options": {"criterion": "sld", "lr": 0.7}}}
    plan = write_plan(tmp_path, conditions=conditions, objectives=objectives, cells=[BLOCK], comparisons=[])
    (cell,) = cells_of(plan)
    made, system = command_plan(plan, cell, tmp_path / "out", threads=1)
    chosen = {name: made.train_options[name] for name in ("lr", "dropout", "seed", "max_update")}
    assert chosen == {"lr": 0.7, "dropout": 0.3, "seed": 1, "max_update": 2}
    assert made.train_options["init_unit_embeddings"] == f"{made.data}/k.npz"
    assert made.directory(system) == tmp_path / "out" / "small" / "sld" / "1"


def test_a_part_of_the_training_set_is_cut_and_the_rest_is_the_same(tmp_path):
    plan = write_plan(tmp_path)
    made, _ = command_plan(plan, cells_of(plan)[0], tmp_path / "out", threads=1)
    whole = (DATA / "train.tsv").read_text(encoding="utf-8").split("\n")
    header = sum(line.startswith("#") for line in whole) + 1
    assert (made.data / "train.tsv").read_text(encoding="utf-8").split("\n") == [*whole[: header + 50], ""]
    assert (made.data / "valid.tsv").read_bytes() == (DATA / "valid.tsv").read_bytes()


def test_the_manifest_that_an_objective_trains_on_is_the_one_that_is_cut(tmp_path):
    """One condition, two training manifests: each is cut for its objective, and its bytes decide the fingerprint."""
    data = tmp_path / "data"
    shutil.copytree(DATA, data, ignore=shutil.ignore_patterns(".mmap", "test_voices.tsv"))
    shutil.copyfile(data / "valid.tsv", data / "other.tsv")
    objectives = {
        "sld": {"description": "", "options": {"criterion": "sld"}},
        "on_other": {"description": "", "options": {"criterion": "sld", "train_subset": "other"}},
    }
    conditions = {"small": {**CONDITION, "data": str(data)}}
    cells = [{**BLOCK, "objectives": list(objectives)}]
    plan = write_plan(tmp_path, conditions=conditions, objectives=objectives, cells=cells, comparisons=[])
    prints = [fingerprint(plan, cell) for cell in cells_of(plan)]
    for cell, name in [*zip(cells_of(plan), ("train", "other"))] * 2:
        made, _ = command_plan(plan, cell, tmp_path / "out", threads=1)
        assert len(read_manifest(made.data / f"{name}.tsv")) == 50
    assert (data / "other.tsv").read_bytes() == (data / "valid.tsv").read_bytes()  # not cut through a link
    whole = read_manifest(data / "valid.tsv")
    write_manifest(data / "other.tsv", list(whole)[:60], whole.provenance)
    again = [fingerprint(plan, cell) for cell in cells_of(plan)]
    assert again[0] == prints[0] and again[1] != prints[1]


def test_a_part_larger_than_the_training_set_is_refused(tmp_path):
    plan = write_plan(tmp_path, conditions={"small": {**CONDITION, "train_utterances": 20_000}})
    with pytest.raises(InputError, match=r"train.tsv: 10000 utterances, and condition small wants 20000"):
        command_plan(plan, cells_of(plan)[0], tmp_path / "out", threads=1)


def test_runs_are_written_out_by_their_durations_and_collapsed_again(tmp_path):
    plan = write_plan(tmp_path, conditions={"small": {**CONDITION, "deduplicated": False}})
    made, _ = command_plan(plan, cells_of(plan)[0], tmp_path / "frames", threads=1)
    for name, size in (("train", 50), ("valid", 125), ("test_asterisk", 10)):
        before, after = read_manifest(DATA / f"{name}.tsv"), read_manifest(made.data / f"{name}.tsv")
        assert len(after) == size and not after.provenance.deduplicated and "durations" not in after.columns
        assert after.header["attribution"] == before.header["attribution"]
        for old, new in zip(before, after):
            runs = [unit for unit, length in zip(old.units, old.durations) for _ in range(length)]
            assert (new.id, new.text, new.units.tolist()) == (old.id, old.text, runs)
    again = {"small": {**CONDITION, "data": str(made.data), "deduplicated": True}}
    plan = write_plan(tmp_path, conditions=again)
    back, _ = command_plan(plan, cells_of(plan)[0], tmp_path / "back", threads=1)
    for name in ("valid", "test_asterisk"):
        assert (back.data / f"{name}.tsv").read_bytes() == (DATA / f"{name}.tsv").read_bytes()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"durations": None}, "test_asterisk.tsv: no column durations, of which runs are written out"),
        ({"subword": "sha256:5b"}, "test_asterisk.tsv: subwords of units have no runs"),
    ],
    ids=["without durations", "subwords"],
)
def test_runs_that_cannot_be_written_out_are_refused(tmp_path, change, message):
    data = tmp_path / "data"
    shutil.copytree(DATA, data, ignore=shutil.ignore_patterns(".mmap", "test_voices.tsv"))
    manifest = read_manifest(data / "test_asterisk.tsv")
    changed = [replace(one, durations=change.get("durations", one.durations)) for one in manifest]
    provenance = replace(manifest.provenance, subword=change.get("subword"))
    write_manifest(data / "test_asterisk.tsv", changed, provenance)
    plan = write_plan(tmp_path, conditions={"small": {**CONDITION, "data": str(data), "deduplicated": False}})
    with pytest.raises(InputError, match=re.escape(message)):
        command_plan(plan, cells_of(plan)[0], tmp_path / "out", threads=1)


def test_all_objectives_of_a_seed_come_before_the_next_seed(tmp_path):
    plan = write_plan(tmp_path)
    names = [cell.name for cell in cells_of(plan)]
    assert names == ["small/masked_ce/1", "small/sld/1", "small/masked_ce/2", "small/sld/2"]
    assert [cell.name for cell in cells_of(plan, "small/sld, small/masked_ce/2")] == [names[1], *names[2:]]
    with pytest.raises(InputError, match="no cell begins with 'large'"):
        cells_of(plan, "large")


def test_the_fingerprint_follows_options_seed_and_data(tmp_path):
    plan = write_plan(tmp_path)
    other = write_plan(tmp_path, generate={"beam": 2})
    prints = {fingerprint(plan, cell) for cell in cells_of(plan)} | {fingerprint(other, c) for c in cells_of(other)}
    frames = write_plan(tmp_path, conditions={"small": {**CONDITION, "deduplicated": False}})
    prints |= {fingerprint(frames, cell) for cell in cells_of(frames)}
    assert len(prints) == 12
    moved = write_plan(tmp_path, conditions={"small": {**CONDITION, "description": "other words"}})
    assert fingerprint(moved, cells_of(moved)[0]) == fingerprint(plan, cells_of(plan)[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"titel": "x"}, "the plan has an unknown key 'titel'"),
        ({"conditions": {"small": {**CONDITION, "sets": []}}}, "conditions small has an unknown key 'sets'"),
        ({"conditions": {"small": {"data": "."}}}, "conditions small lacks 'description'"),
        ({"conditions": {"small": {**CONDITION, "deduplicated": "no"}}}, "'deduplicated' of conditions small is 'no'"),
        ({"conditions": {"small": 3}}, "conditions small is no mapping"),
        ({"objectives": ["sld"]}, "'objectives' of the plan is"),
        ({"cells": [{**BLOCK, "objectives": ["sdl"]}]}, "no objective 'sdl' is defined"),
        ({"cells": [{**BLOCK, "conditions": ["big"]}]}, "no condition 'big' is defined"),
        ({"cells": [{**BLOCK, "seeds": ["one"]}]}, "seed 'one' is no whole number"),
        ({"comparisons": [{"objective": "sld", "baseline": "ce"}]}, "no objective 'ce' is defined"),
    ],
)
def test_an_error_names_the_file_and_the_key(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        write_plan(tmp_path, **changes)
    assert "plan.yaml" in str(caught.value)


def test_no_yaml_is_said(tmp_path):
    (tmp_path / "plan.yaml").write_text("title: [", encoding="utf-8")
    with pytest.raises(InputError, match="no YAML"):
        read_plan(tmp_path / "plan.yaml")


def test_every_committed_row_is_of_the_committed_plan():
    """A fingerprint that is made in another way would leave hours of training out of the report."""
    plan = read_plan(ROOT / "evidence" / "plan.yaml")
    rows = read_rows(ROOT / "evidence" / "plan.rows.jsonl")
    assert rows and current_rows(plan, cells_of(plan), rows) == rows
