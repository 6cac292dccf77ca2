"""The guide's format: its blocks run exactly as they stand, from a file that is found by itself."""

import sys

import pytest
from support.commands import sld
from support.guides import python_blocks

from sld_user_dir.interop import formats, unit_format

MODULE = "sld_user_dir.interop.formats.run_lengths"
COMMANDS = ("sld_user_dir.commands.import_", "sld_user_dir.commands.export")
"""They look up the names of all formats once, when they are imported."""


@pytest.fixture
def guide(tmp_path, monkeypatch):
    """The tests of the guide, with its format's file where the package looks for formats."""
    known = unit_format.unit_formats()  # else the formats that register under the patch would be lost with it
    source, tests = python_blocks("add_a_format.md")
    folder = tmp_path / "formats"
    folder.mkdir()
    (folder / "run_lengths.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(folder)])
    monkeypatch.setattr(unit_format, "_REGISTERED", dict(known))
    imported = {name: sys.modules.pop(name) for name in COMMANDS if name in sys.modules}
    namespace = {}
    exec(compile(tests, "guide_test.py", "exec"), namespace)
    yield namespace
    for name in (MODULE, *COMMANDS):
        sys.modules.pop(name, None)
    sys.modules.update(imported)
    vars(formats).pop("run_lengths", None)


def test_the_format_of_the_guide_is_found_and_comes_and_goes(guide, tmp_path):
    assert MODULE not in sys.modules  # nothing imports it but the look-up
    guide["test_run_lengths"](tmp_path)
    assert unit_format.unit_formats()["run-lengths"].read.__module__ == MODULE


def test_its_errors_name_the_line(guide, tmp_path, capsys):
    guide["test_a_line_that_is_none_is_named"](tmp_path, capsys)


def test_the_guide_left_nothing_behind(capsys):
    assert "run-lengths" not in unit_format.unit_formats()
    with pytest.raises(SystemExit):
        sld("export", "--help")
    said = capsys.readouterr().out
    assert "slamkit-tokens" in said and "run-lengths" not in said


def test_a_name_stands_for_one_format(monkeypatch):
    gslm = unit_format.unit_formats()["gslm"]
    monkeypatch.setattr(unit_format, "_REGISTERED", {"gslm": gslm})
    with pytest.raises(ValueError, match="two formats named 'gslm'"):
        unit_format.register_format(gslm)
