"""The table of docs/backbones.md says what the tests try."""

import sys

import pytest
from support.backbones import FAMILIES
from support.miniature import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

import backbone_table


def test_families_are_told_apart():
    name = "tests/models/test_backbones.py::test_packed_rows_are_rows_apart"
    collected = f"{name}[llama-untied]\n{name}[opt]\n{name.replace('packed', 'unknown')}[gpt2]\n"
    assert backbone_table.families_of_tests(collected)["test_packed_rows_are_rows_apart"] == {"llama-untied", "opt"}
    assert backbone_table.NAMES.keys() == FAMILIES.keys()


@pytest.mark.slow
def test_the_page_has_the_table_of_the_tests():
    assert backbone_table.table(backbone_table.collect()) in backbone_table.PAGE.read_text(encoding="utf-8")
