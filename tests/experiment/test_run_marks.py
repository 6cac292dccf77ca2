"""What a run writes of itself before it trains: a kill in between costs nothing, and changes are noticed."""

import pytest

from sld_user_dir.experiment import runner

COMMAND = ["fairseq-train", "data"]


class Killed(Exception):
    """Stands in for a kill."""


@pytest.mark.parametrize("at", ["data.sha256", "command.txt"])
def test_a_run_that_is_killed_while_it_begins_is_not_put_aside(at, tmp_path, monkeypatch):
    record = runner._record

    def killed(path, text):
        if path.name == at:
            path.with_name(f".{at}.part").write_text(text[:3])
            raise Killed
        record(path, text)

    monkeypatch.setattr(runner, "_record", killed)
    with pytest.raises(Killed):
        runner._prepare(tmp_path / "run", COMMAND, "abc")
    monkeypatch.undo()
    assert not runner._prepare(tmp_path / "run", COMMAND, "abc")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"command.txt", "data.sha256"}


@pytest.mark.parametrize("changed", [(["fairseq-train", "other"], "abc"), (COMMAND, "other")])
def test_a_run_of_something_else_is_put_aside(changed, tmp_path):
    runner._prepare(tmp_path / "run", COMMAND, "abc")
    (tmp_path / "run" / "trained").touch()
    assert runner._prepare(tmp_path / "run", COMMAND, "abc")
    assert not runner._prepare(tmp_path / "run", *changed)
    assert (tmp_path / "run.previous" / "trained").exists()


def test_a_folder_of_unknown_origin_is_put_aside(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint_last.pt").touch()
    assert not runner._prepare(tmp_path / "run", COMMAND, "abc")
    assert (tmp_path / "run.previous" / "checkpoint_last.pt").exists()
