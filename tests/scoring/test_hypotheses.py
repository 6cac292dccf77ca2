"""Reading fairseq-generate's output and pairs of text files."""

from pathlib import Path
from types import SimpleNamespace
from typing import List

import pytest

from sld_user_dir.scoring.hypotheses import HypothesisError, read_generate, read_pair

GENERATED = """2024-01-01 | INFO | fairseq_cli.generate | loading model(s) from x.pt
S-10\t5 6 7
T-10\tthree four
H-10\t-0.5\tth ree four
D-10\t-0.5\tthree four
P-10\t-0.1000 -0.2000 -0.3000 -0.4000
S-2\t1 2
T-2\tone
H-2\t-0.25\tone two
D-2\t-0.25\tone two
P-2\t-0.1 -0.2 -0.3
H-2\t-0.75\t
D-2\t-0.75\t
P-2\t-0.75
Generate test with beam=5: WER: 33.33
"""


class FakeManifest:
    """Stands in for data.manifest.Manifest: `path`, length and rows."""

    path = "test.tsv"

    def __init__(self, rows: List[SimpleNamespace]):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> SimpleNamespace:
        return self.rows[row]


def utterances(count: int) -> FakeManifest:
    return FakeManifest(
        [SimpleNamespace(id=f"utt{i}", text=f"text {i}", fields={"speaker": f"s{i % 2}"}) for i in range(count)]
    )


@pytest.fixture
def generated(tmp_path: Path) -> Path:
    path = tmp_path / "generate-dev.txt"
    path.write_text(GENERATED, encoding="utf-8")
    return path


def test_order_of_rows_is_restored(generated: Path) -> None:
    assert [record.row for record in read_generate(generated)] == [2, 10]


def test_all_kinds_of_lines(generated: Path) -> None:
    two, ten = read_generate(generated)
    assert (ten.source, ten.reference, ten.fields) == ("5 6 7", "three four", {"test_set": "dev"})
    assert (ten.best.text, ten.best.tokens, ten.best.score) == ("three four", "th ree four", -0.5)
    assert ten.best.positional_scores == [-0.1, -0.2, -0.3, -0.4]
    assert [(h.text, h.score) for h in two.hypotheses] == [("one two", -0.25), ("", -0.75)]


def test_manifest_gives_ids_references_and_fields(generated: Path) -> None:
    records = read_generate(generated, utterances(11), missing_as_empty=True)
    assert [record.id for record in records] == [f"utt{i}" for i in range(11)]
    assert records[10].reference == "text 10"
    assert records[10].fields == {"test_set": "dev", "speaker": "s0"}
    assert records[3].best.text == "" and records[2].best.text == "one two"


@pytest.mark.parametrize("rows, message", [(12, "no hypothesis for 10 rows"), (5, "row 10 is not in test.tsv")])
def test_manifest_of_another_set_is_refused(generated: Path, rows: int, message: str) -> None:
    with pytest.raises(HypothesisError, match=message):
        read_generate(generated, utterances(rows))


@pytest.mark.parametrize(
    "text, message",
    [
        ("", r":1: no H- line"),
        ("S-0\t1 2\nT-0\tone\n", r":1: no H- line"),
        ("H-0\tone\n", r":1: malformed H-0 line"),
        ("D-0\t-1\tone\n", r":1: malformed D-0 line"),
        ("T-0\ta\nD-0\t-1\tone\n", r":2: malformed D-0 line \(no H-0 line before it\); generate the file again"),
        ("P-0\t-1 -2\n", r":1: malformed P-0 line \(no H-0 line before it\)"),
        ("T-0\ta\nH-0\t-1\ta\nT-0\ta\n", r":3: malformed T-0 line \(second reference"),
    ],
)
def test_bad_output_is_an_error_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "generate-test.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HypothesisError, match=message):
        read_generate(path)


def test_parallel_lines(tmp_path: Path) -> None:
    (tmp_path / "ref").write_text("a b\n\nc\n", encoding="utf-8")
    (tmp_path / "hyp").write_text("a\nx\x85y\n\n", encoding="utf-8")  # U+0085 ends no line here
    records = read_pair(tmp_path / "ref", tmp_path / "hyp")
    assert [(r.reference, r.best.text) for r in records] == [("a b", "a"), ("", "x\x85y"), ("c", "")]


def test_keyed_lines_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "ref").write_text("u1 a b\nu2\tc d\nu3\n", encoding="utf-8")
    (tmp_path / "hyp").write_text("u3 z\nu2 c\nu1 a b\n", encoding="utf-8")
    records = read_pair(tmp_path / "ref", tmp_path / "hyp", keyed=True)
    expected = [("u1", "a b", "a b"), ("u2", "c d", "c"), ("u3", "", "z")]
    assert [(r.id, r.reference, r.best.text) for r in records] == expected


@pytest.mark.parametrize(
    "hyp, keyed, message", [("a\n", False, "1 hypotheses for 2"), ("u1 a\nu1 b\n", True, "hyp:2: second")]
)
def test_pairs_that_do_not_match(tmp_path: Path, hyp: str, keyed: bool, message: str) -> None:
    (tmp_path / "ref").write_text("u1 a\nu2 b\n", encoding="utf-8")
    (tmp_path / "hyp").write_text(hyp, encoding="utf-8")
    with pytest.raises(HypothesisError, match=message):
        read_pair(tmp_path / "ref", tmp_path / "hyp", keyed)
