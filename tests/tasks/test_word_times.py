"""fairseq-generate --word-times: every utterance's words, on the clock of its units, or a reason why not."""

from dataclasses import replace
from itertools import pairwise

import pytest
from support.miniature import TRAIN_OPTIONS, fairseq_command, make_data, train

from sld_user_dir.confidence.confidence_map import ConfidenceMap
from sld_user_dir.confidence.labelled import label
from sld_user_dir.confidence.logistic_map import LogisticMap
from sld_user_dir.manifests.ctm import CtmError, read_ctm
from sld_user_dir.manifests.memory_map import open_manifest
from sld_user_dir.manifests.unit_manifest import read_manifest, write_manifest
from sld_user_dir.scoring.hypotheses import read_generate
from sld_user_dir.tasks.word_time_file import WordTimeFile
from sld_user_dir.vocabulary.joint import JointVocabulary


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"), train=30, valid=5, test=11)


@pytest.fixture(scope="module")
def with_ctc(data, tmp_path_factory):
    save_dir = tmp_path_factory.mktemp("ctc")
    train(data, save_dir, "--ctc-weight", "1")
    return save_dir / "checkpoint_last.pt"


def generate(data, checkpoint, out, *options, check=True):
    fixed = ["--path", checkpoint, "--gen-subset", "test", "--results-path", out, "--beam", 2, "--max-len-b", 6]
    return fairseq_command(
        "generate", data, *fixed, "--max-len-a", 0, "--word-times", out / "test.ctm", *options, check=check
    )


def test_words_and_lines_agree_and_times_are_those_of_the_units(data, with_ctc, tmp_path):
    generate(data, with_ctc, tmp_path, "--batch-size", 3, "--nbest", 2)
    manifest = read_manifest(data / "test.tsv")
    records = read_generate(tmp_path / "generate-test.txt", manifest)
    found = read_ctm(tmp_path / "test.ctm")
    assert list(found) == [one.id for one in records if one.best.text]
    for record in records:
        words = found.get(record.id, [])
        assert " ".join(one.word for one in words) == record.best.text
        seconds = len(manifest.units_of(record.row)) / manifest.provenance.frame_rate_hz
        bounds = [0, *(t for one in words for t in (one.start_seconds, one.end_seconds)), seconds]
        assert all(before <= after + 1e-9 for before, after in pairwise(bounds))


def test_the_lines_are_the_same_with_and_without_times(data, with_ctc, tmp_path):
    generate(data, with_ctc, tmp_path)
    lines = (tmp_path / "generate-test.txt").read_text().splitlines()
    fixed = ["--path", with_ctc, "--gen-subset", "test", "--beam", 2, "--max-len-a", 0, "--max-len-b", 6]
    fairseq_command("generate", data, *fixed, "--results-path", tmp_path / "plain")
    plain = (tmp_path / "plain" / "generate-test.txt").read_text().splitlines()
    facts = [line for line in lines if line[:2] in ("S-", "T-", "H-", "D-", "P-")]
    assert facts and facts == [line for line in plain if line[:2] in ("S-", "T-", "H-", "D-", "P-")]


def test_a_confidence_map_gives_each_word_its_confidence(data, with_ctc, tmp_path):
    maps = [LogisticMap(0.5, [1.0] * count, [0.0] * count, [1.0] * count) for count in (2, 3)]
    vocab = JointVocabulary.load(data)
    ConfidenceMap(2, 1.0, *maps, "c", vocab.fingerprint).save(tmp_path / "m.json")
    generate(data, with_ctc, tmp_path, "--nbest", 2, "--confidence-map", tmp_path / "m.json")
    found = read_ctm(tmp_path / "test.ctm")
    records = read_generate(tmp_path / "generate-test.txt", read_manifest(data / "test.tsv"))
    read = ConfidenceMap.load(tmp_path / "m.json")
    for record, one in zip(records, label(records, vocab.tokenizer, "generate-test.txt")):
        in_file = [word.confidence for word in found.get(record.id, [])]
        assert in_file == pytest.approx(read.of_words(one.candidates), abs=2e-4)  # scores in lines are rounded
    done = generate(data, with_ctc, tmp_path, "--beam", 1, "--confidence-map", tmp_path / "m.json", check=False)
    assert "1 hypotheses an utterance, but the confidence map was fitted on 2" in said(done)


def said(done) -> str:
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_a_model_without_ctc_times_words_too(mini, checkpoint, tmp_path):
    generate(mini, checkpoint, tmp_path)
    manifest = read_manifest(mini / "test.tsv")
    records = read_generate(tmp_path / "generate-test.txt", manifest)
    found = read_ctm(tmp_path / "test.ctm")
    for record in records:
        assert " ".join(one.word for one in found.get(record.id, [])) == record.best.text
    assert "words are timed by when each can first be told" in (tmp_path / "generate-test.txt").read_text()


def test_other_uses_are_refused(data, with_ctc, tmp_path):
    options = ["--word-times", tmp_path / "x.ctm"]
    fixed = [*TRAIN_OPTIONS, "--criterion", "sld", "--save-dir", tmp_path / "save", "--max-update", 1]
    done = fairseq_command("train", data, *fixed, *options, check=False)
    assert "--word-times: it is an option of fairseq-generate; leave it out" in said(done)
    generation = ["--path", with_ctc, "--input", tmp_path / "units.txt"]
    (tmp_path / "units.txt").write_text("1 2 3\n")
    done = fairseq_command("interactive", data, *generation, *options, check=False)
    assert "--word-times: units that are typed have no durations; decode a manifest of theirs" in said(done)


@pytest.mark.parametrize("name", ["r 00", "r\u202800", "r\x8500", ";;r00"])
@pytest.mark.parametrize("read", [read_manifest, open_manifest])
def test_ids_that_no_ctm_file_can_hold_are_refused_before_decoding(name, read, data, tmp_path):
    manifest = read_manifest(data / "test.tsv")
    rows = [replace(manifest[row], id=name if row == 1 else manifest[row].id) for row in range(3)]
    write_manifest(tmp_path / "test.tsv", rows, manifest.provenance, manifest.header)
    written = read(tmp_path / "test.tsv")
    file = WordTimeFile(str(tmp_path / "x.ctm"), JointVocabulary.load(data), "asr")
    with pytest.raises(CtmError) as error:
        file.read_units_of(written)
    assert str(error.value) == (
        f"{written.path}:{written.line(1)}: the id {name!r} is no name of a CTM file, whose columns white space "
        "divides; rename it, or leave out --word-times"
    )
