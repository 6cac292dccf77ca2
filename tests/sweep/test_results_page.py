"""The report: every figure from rows, failures and stale rows said, the same bytes again."""

import pytest
from support.sweeps import all_rows, row_of, write_plan

from sld_user_dir.commands import main
from sld_user_dir.sweep.cells import cells_of
from sld_user_dir.sweep.results_page import write_results
from sld_user_dir.sweep.rows import add_rows


@pytest.fixture
def plan(tmp_path):
    return write_plan(tmp_path)


def report(plan, rows, folder):
    folder.mkdir(exist_ok=True)
    write_results(plan, rows, folder)
    return (folder / "RESULTS.md").read_text(encoding="utf-8")


def line_with(text, *parts):
    (line,) = [line for line in text.split("\n") if all(part in line for part in parts)]
    return line


def test_the_tables_hold_means_deviations_and_every_seed(plan, tmp_path):
    text = report(plan, all_rows(plan), tmp_path / "report")
    assert "Of 4 trainings, 4 are done, 0 failed, 0 have not run." in text
    row = line_with(text, "`small` | test_asterisk | `sld` | 2 |")
    assert "| 21.88 |" in row and "18.75 25.00" in row and "| 4.42 |" in row  # (1+2)/16, (2+2)/16; their deviation
    comparison = line_with(text, "`sld` against `masked_ce`")
    assert "| +0.00 |" in comparison and comparison.endswith("| 1.000 | 1.000 |")
    assert line_with(text, "| ann | bob |")
    assert line_with(text, "`small` | `sld` | 2.000 | 4.00 | 40.0 | 5.000 | 32.0 |")


def test_what_failed_is_stale_or_has_not_run_is_said(plan, tmp_path):
    rows = all_rows(plan)
    first, second = cells_of(plan)[:2]
    rows[0] = {"cell": first.name, "fingerprint": rows[0]["fingerprint"], "status": "failed", "reason": "no space left"}
    rows[1] = row_of(plan, second, fingerprint="0" * 16)
    text = report(plan, rows, tmp_path / "report")
    assert "Of 4 trainings, 2 are done, 1 failed, 1 have not run." in text
    assert "**1 rows are left out**" in text
    assert "no space left" in line_with(text, "`small/masked_ce/1` |", "no space")


def test_a_single_training_is_marked(plan, tmp_path):
    text = report(plan, [row for row in all_rows(plan) if row["cell"].endswith("/1")], tmp_path / "report")
    assert "one training" in line_with(text, "`sld` against `masked_ce`")


def test_the_same_rows_give_the_same_bytes(plan, tmp_path):
    rows = all_rows(plan)
    pages = [report(plan, rows[::step], tmp_path / str(step)) for step in (1, -1)]
    assert pages[0] == pages[1]
    html = (tmp_path / "1" / "results.html").read_text(encoding="utf-8")
    assert html.count("data:image/png;base64") == 1 and "<code>sld</code>" in html


def test_the_cost_is_told_first_from_what_ran(plan, tmp_path, capsys):
    rows = tmp_path / "plan.rows.jsonl"
    assert main(["sweep", str(plan.path), "--dry-run"]) == 0
    assert "4 cells, cost unknown" in capsys.readouterr().out
    add_rows(rows, all_rows(plan)[:1])
    assert main(["sweep", str(plan.path), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "4 cells, 1 done, 3 to run" in told and "in all 6.0 CPU hours" in told


def test_the_report_alone_runs_nothing(plan, tmp_path, capsys):
    add_rows(tmp_path / "plan.rows.jsonl", all_rows(plan))
    assert main(["sweep", str(plan.path), "--report"]) == 0
    assert f"{tmp_path / 'RESULTS.md'}" in capsys.readouterr().out


def test_a_folder_holds_the_report_of_one_plan(plan, tmp_path, capsys):
    add_rows(tmp_path / "plan.rows.jsonl", all_rows(plan))
    assert main(["sweep", str(plan.path), "--report"]) == 0
    before = (tmp_path / "RESULTS.md").read_bytes()
    other = tmp_path / "other.yaml"
    other.write_bytes(plan.path.read_bytes())
    assert main(["sweep", str(other), "--report"]) == 1
    assert "the report of another plan" in capsys.readouterr().err
    assert (tmp_path / "RESULTS.md").read_bytes() == before
    assert main(["sweep", str(plan.path), "--report"]) == 0
