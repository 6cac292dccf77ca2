"""The calls of all shell blocks, found once for the tests of this folder."""

import pytest
from support.command_rules import RULES
from support.documents import Shell, blocks_of


@pytest.fixture(scope="module")
def calls(tmp_path_factory) -> list:
    """All calls of all shell blocks."""
    folder = tmp_path_factory.mktemp("shell")
    shell = Shell(folder, [name for name in RULES if "/" not in name])
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(folder / "bin" / "python")
    digits = folder / "manifests" / "digits"
    digits.mkdir(parents=True)
    (digits / "train.tsv").write_text("for cp of mixture.md\n")
    recipe = folder / "runs" / "librispeech"  # what librispeech.md counts by awk and grep
    (recipe / "units").mkdir(parents=True)
    (recipe / "units" / "train_all.tsv").write_text("# header\nid\tunits\ttext\na\t1 2 3\tx\nb\t4 5\ty\n")
    (recipe / "sld").mkdir()
    (recipe / "sld" / "train.log").write_text('{"wps": "12.5"}\n')
    return [call for block in blocks_of("sh") for call in shell.run(block, block.code)]
