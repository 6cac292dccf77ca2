"""The guide's format: its blocks run exactly as they stand."""

import pytest
from support.guides import module_of, python_blocks

from sld_user_dir.interop import unit_format


@pytest.fixture
def guide(monkeypatch):
    """The tests of the guide, with its format registered."""
    monkeypatch.setattr(unit_format, "_REGISTERED", dict(unit_format.unit_formats()))
    source, tests = python_blocks("add_a_format.md")
    module_of(source, "guide_run_lengths", monkeypatch)
    assert "run-lengths" in unit_format.unit_formats()
    namespace = {}
    exec(compile(tests, "guide_test.py", "exec"), namespace)
    return namespace


def test_the_format_of_the_guide_comes_and_goes(guide, tmp_path):
    guide["test_run_lengths"](tmp_path)


def test_its_errors_name_the_line(guide, tmp_path, capsys):
    guide["test_a_line_that_is_none_is_named"](tmp_path, capsys)


def test_the_guide_left_nothing_behind():
    assert "run-lengths" not in unit_format.unit_formats()
