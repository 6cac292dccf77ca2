"""Nothing is lost without a word: the chain of ledgers from recordings to scored hypotheses, and how it breaks."""

import json
import shutil

import pytest
import soundfile
from support.audio_files import RATE_HZ, noisy_tone
from support.commands import sld
from support.miniature import fairseq_command, train

from sld_user_dir.ledger.ledger_chain import read_chain
from sld_user_dir.ledger.ledger_entry import LedgerError
from sld_user_dir.ledger.ledger_file import SUFFIX, ledger_path, read_ledger

SENTENCES = ["one two", "two", "three one", "two two one"]
STAGES = [
    "audio",
    "units",
    "kmeans",
    "batches",
    "memory map",
    "limit",
    "subwords",
    "export",
    "import",
    "generate",
    "score",
]


@pytest.fixture(scope="session")
def chain(tmp_path_factory):
    """Every stage once over ten recordings, of which two are unusable, one has no transcript, and one is too long."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "wav").mkdir()
    for number in range(10):
        seconds = {0: 0.01, 9: 2.5}.get(number, 0.5 + 0.02 * number)
        soundfile.write(folder / "wav" / f"r{number}.wav", noisy_tone(seconds, seed=number), RATE_HZ)
        (folder / "wav" / f"r{number}.txt").write_text(SENTENCES[number % len(SENTENCES)])
    (folder / "wav" / "r1.wav").write_bytes(b"")
    (folder / "wav" / "r2.txt").write_text("")
    data = folder / "data"
    run("audio", "--root", folder / "wav", "--out", folder / "all.audio.tsv", "--workers", 1, "--allow-missing-text")
    run("kmeans", "--audio", folder / "all.audio.tsv", "--out", folder / "km.npz", "--num-units", 6, "--device", "cpu")
    run("units", "--audio", folder / "all.audio.tsv", "--kmeans", folder / "km.npz", "--out", data / "all.tsv")
    run("vocab", "--data", data, "--text-tokenizer", "word", "--split", "all")
    run("limit", "--data", data, "--split", "all", "--out", "train", "--max-tokens", 120)
    run("limit", "--data", data, "--split", "train", "--out", "valid", "--too-long", "truncate", "--max-tokens", 50)
    run("export", "--manifest", data / "train.tsv", "--format", "textless", "--out", folder / "exported")
    run(
        "import",
        "--units",
        folder / "exported.units",
        "--num-units",
        6,
        "--text",
        folder / "exported.units.text",
        "--format",
        "textless",
        "--out",
        folder / "imported.tsv",
    )
    run(
        "subwords",
        "--train",
        data / "all.tsv",
        "--model",
        folder / "sub.model",
        "--num-pieces",
        10,
        "--encode",
        data / "all.tsv",
        "--out-dir",
        folder / "subwords",
    )
    train(data, folder / "model", "--tokens-per-sample", 128, "--max-tokens", 300, updates=1)
    decode(data, folder / "model" / "checkpoint_last.pt", folder / "results")
    run(
        "score",
        folder / "results" / "generate-valid.txt",
        "--manifest",
        data / "valid.tsv",
        "--json",
        folder / "report.json",
    )
    return folder


def run(*arguments):
    assert sld(*arguments) == 0


def decode(data, checkpoint, results):
    fairseq_command(
        "generate",
        data,
        "--path",
        checkpoint,
        "--gen-subset",
        "valid",
        "--results-path",
        results,
        "--max-len-b",
        5,
        "--max-len-a",
        0,
        "--beam",
        1,
    )


@pytest.fixture
def copy(chain, tmp_path):
    """The folder of the chain, to be damaged."""
    shutil.copytree(chain, tmp_path / "copy")
    return tmp_path / "copy"


def test_every_stage_is_in_the_chain_in_its_order(chain, capsys):
    assert sld("ledger", chain, "--json", chain / "chain.json") == 0
    said = capsys.readouterr().out
    assert "every loss has its reason" in said and "WRONG" not in said
    stages = [one["stage"] for one in json.loads((chain / "chain.json").read_text())]
    assert set(stages) == set(STAGES)
    places = [stages.index(name) for name in ("audio", "units", "limit", "generate", "score")]
    assert places == sorted(places)


def test_losses_have_their_reasons_and_numbers(chain):
    lost = {path.name: reasons(read_ledger(path)) for path in chain.rglob(f"*{SUFFIX}")}
    assert lost["all.audio.tsv.ledger.json"] == {"too short: 0.010 s, at least 0.1 s wanted": 1, "zero bytes": 1}
    assert lost["all.tsv.ledger.json"] == {"no transcript": 1}
    assert lost["train.tsv.ledger.json"] == {"longer than 120 tokens or 150 of text": 1}
    assert sum(lost["valid.tsv.ledger.json"].values()) == 0  # cut, not left out
    cut = read_ledger(chain / "data" / "valid.tsv.ledger.json").flows[0].lost[0].counts
    assert cut["units"] == cut["frames"] > 0 == cut["samples"]


def reasons(entry):
    return {one.reason: one.counts.get("utterances", 0) for flow in entry.flows for one in flow.lost}


def test_utterances_go_through_to_the_score(chain):
    counts = {link.path.name: link.entry.counts["utterances"] for link in read_chain(chain)}
    assert counts["all.audio.tsv.ledger.json"] == 8 and counts["all.tsv.ledger.json"] == 7
    last = (
        "train.tsv",
        "valid.tsv",
        "train.loaded",
        "valid.loaded",
        "generate-valid.txt",
        "report.json",
        "imported.tsv",
    )
    assert {counts[f"{name}.ledger.json"] for name in last} == {6}
    subwords = read_ledger(chain / "subwords" / "all.tsv.ledger.json")
    assert subwords.counts["frames"] == subwords.flows[0].counts["frames"] > subwords.counts["units"]


DAMAGES = {
    "a row of a manifest is gone": ("data/valid.tsv", lambda text: text[: text.rstrip("\n").rindex("\n") + 1]),
    "a unit is gone": ("data/valid.tsv", lambda text: drop_a_unit(text)),
    "a transcript was edited": ("data/valid.tsv", lambda text: text.replace("two", "too", 1)),
    "an answer is gone": ("results/generate-valid.txt", lambda text: "\n".join(drop_answer(text.split("\n")))),
}


def drop_a_unit(text):
    lines = text.split("\n")
    name, units, rest = lines[-2].split("\t", 2)
    return "\n".join([*lines[:-2], "\t".join((name, units.rpartition(" ")[0], rest)), ""])


def drop_answer(lines):
    row = next(line for line in lines if line.startswith("H-")).partition("\t")[0].partition("-")[2]
    return [line for line in lines if line.partition("\t")[0].partition("-")[2] != row]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_changed_behind_a_ledger_is_a_mismatch(copy, damage, capsys):
    name, change = DAMAGES[damage]
    text = (copy / name).read_text()
    assert change(text) != text
    (copy / name).write_text(change(text))
    if name.startswith("data"):
        assert sld("ledger", copy) == 1
        assert "WRONG" in capsys.readouterr().out
    score = ("score", copy / "results" / "generate-valid.txt", "--manifest", copy / "data" / "valid.tsv")
    assert sld(*score) == (0 if "edited" in damage else 1)  # as many words as before


def test_a_stage_refuses_what_the_stage_before_did_not_write(copy, capsys):
    path = copy / "data" / "all.tsv"
    path.write_text(drop_a_unit(path.read_text()))
    limit = ("limit", "--data", copy / "data", "--split", "all", "--out", "again")
    assert sld(*limit) == 1
    said = capsys.readouterr().err
    assert str(ledger_path(path)) in said and "if it was changed on purpose, remove its ledger" in said
    ledger_path(path).unlink()
    assert sld(*limit) == 0


def test_training_refuses_a_manifest_that_lost_a_line(copy):
    path = copy / "data" / "train.tsv"
    path.write_text(DAMAGES["a row of a manifest is gone"][1](path.read_text()))
    with pytest.raises(AssertionError, match=r"5 utterances, but .*train.tsv.ledger.json counted 6"):
        train(copy / "data", copy / "other", "--tokens-per-sample", 128, "--max-tokens", 300, updates=1)


def test_a_second_run_writes_the_same_bytes(copy):
    path = copy / "data" / "train.tsv.ledger.json"
    before = path.read_bytes()
    run("limit", "--data", copy / "data", "--split", "all", "--out", "train", "--max-tokens", 120)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "sld-ledger/1", "stage": 3, "in": 4, "out": {}}'])
def test_a_damaged_ledger_is_named(tmp_path, content, capsys):
    (tmp_path / f"x{SUFFIX}").write_text(content)
    assert sld("ledger", tmp_path) == 1
    said = capsys.readouterr().err
    assert f"x{SUFFIX}" in said and said.count("\n") == 1


def test_a_folder_without_ledgers_is_an_error(tmp_path, capsys):
    assert sld("ledger", tmp_path) == 1
    assert "no ledger of a stage" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_folder_is_told_from_none(tmp_path):
    (tmp_path / "audio.tsv").write_text("")
    for name, problem in (("audio.tsv", "a file, not a folder"), ("nowhere", "no such folder")):
        with pytest.raises(LedgerError, match=f"{name}: {problem}; name one in which stages of sld wrote"):
            read_chain(tmp_path / name)
