"""sld vocab: a data directory's vocabulary from its train manifest."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.commands import sld

from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_manifest import ManifestError, Utterance, write_manifest
from sld_user_dir.vocabulary.building import build_vocabulary, train_sentencepiece
from sld_user_dir.vocabulary.joint import JointVocabulary

TEXTS = ["three four", "four", "four three three", "ZWÖLF"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [Utterance(f"u{i}", np.array([i, 2]), text) for i, text in enumerate(TEXTS)]
    write_manifest(tmp_path / "train.tsv", rows, UnitProvenance("x", None, 25.0, "sha256:0", 5))
    return tmp_path


def test_words_are_sorted_by_count_then_symbol_before_specials_and_units(data, capsys):
    assert sld("vocab", "--data", str(data), "--text-tokenizer", "word") == 0
    assert ": 14 symbols: 3 of text (word), 5 units" in capsys.readouterr().out
    symbols = [line.rsplit(" ", 1)[0] for line in (data / "dict.txt").read_text().splitlines()]
    units = [f"<u{k}>" for k in range(5)]
    assert symbols == ["four", "three", "ZWÖLF", "<mask>", "<sep>", *units]
    assert json.loads((data / "vocab.json").read_text())["text_tokenizer"] == "word"


@pytest.mark.parametrize("kind, size", [("char", None), ("word", None), ("sentencepiece", 18)])
def test_every_transcript_survives_a_saved_vocabulary(data, kind, size):
    built = build_vocabulary(data, kind, size)
    loaded = JointVocabulary.load(data)
    assert loaded.fingerprint == built.fingerprint and loaded.num_units == 5
    for text in TEXTS:
        ids = loaded.encode_text(text)
        assert loaded.unk not in ids and loaded.decode_text(ids) == text


@pytest.mark.parametrize("kind, size", [("char", None), ("sentencepiece", 18)])
def test_the_same_manifest_gives_the_same_bytes(data, kind, size):
    def files() -> dict:
        build_vocabulary(data, kind, size)
        return {p.name: p.read_bytes() for p in data.iterdir()}

    assert files() == files()


def test_sentencepiece_uses_a_model_that_is_there(data):
    train_sentencepiece(TEXTS, 18, data / "text.spm.model")
    assert len(build_vocabulary(data, "sentencepiece")) == 4 + 18 - 3 + 2 + 5  # without <s> </s> <unk>


def test_gpt2_symbols_in_their_own_order(data):
    save_tiny_gpt2(data / "gpt2_tokenizer")
    vocab = build_vocabulary(data, "gpt2")
    assert vocab.table.symbols[4:7] == ["!", '"', "#"]
    for text in TEXTS:
        assert JointVocabulary.load(data).decode_text(vocab.encode_text(text)) == text


def save_tiny_gpt2(directory: Path) -> None:
    """A byte-level BPE with GPT-2's alphabet and one merge: stands in for GPT-2's own files."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    alphabet = sorted(bytes_to_unicode().values())
    table = {symbol: i for i, symbol in enumerate([*alphabet, "th", "<|endoftext|>"])}
    directory.mkdir()
    (directory / "vocab.json").write_text(json.dumps(table))
    (directory / "merges.txt").write_text("#version: 0.2\nt h\n")


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--text-tokenizer", "bpe"], "unknown text tokenizer 'bpe'; choose one of char, word"),
        (["--text-tokenizer", "word", "--text-vocab-size", "9"], "belongs to sentencepiece"),
        (
            ["--text-tokenizer", "sentencepiece"],
            "text.spm.model: does not exist, and the sentencepiece tokenizer needs it; copy",
        ),
        (["--text-tokenizer", "sentencepiece", "--text-vocab-size", "999"], "<= "),
        (["--text-tokenizer", "sentencepiece", "--text-vocab-size", "4"], "choose another --text-vocab-size"),
        (["--text-tokenizer", "gpt2"], "gpt2_tokenizer: does not exist, and the gpt2 tokenizer needs it; copy the"),
        (["--split", "dev"], "dev.tsv: no such manifest"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(data, capsys, argv, message):
    assert sld("vocab", "--data", str(data), *argv) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert sorted(p.name for p in data.iterdir()) == ["train.tsv"]


def test_a_manifest_without_utterances_is_refused(tmp_path):
    write_manifest(tmp_path / "train.tsv", [], UnitProvenance.unknown(5))
    with pytest.raises(ValueError, match="no utterances"):
        build_vocabulary(tmp_path)


def test_an_invalid_manifest_is_named_with_its_line(data):
    with (data / "train.tsv").open("a") as out:
        out.write("u9\t5\tfive\n")
    with pytest.raises(ManifestError, match=r"train\.tsv:8: unit 5 is outside"):
        build_vocabulary(data)


def test_gpt2s_tokenizer_is_copied_into_the_data(data, tmp_path, capsys):
    pieces = {piece: i for i, piece in enumerate([*"efhortu", "Ġ", "ĠZ", "W", "L", "F", "Ã", "ľ", "<|endoftext|>"])}
    source = tmp_path / "gpt2"
    source.mkdir()
    (source / "vocab.json").write_text(json.dumps(pieces))
    (source / "merges.txt").write_text("#version: 0.2\n")
    arguments = ["--data", str(data), "--text-tokenizer", "gpt2", "--gpt2"]
    assert sld("vocab", *arguments, str(source)) == 0
    vocab = JointVocabulary.load(data)
    assert vocab.table.symbols[vocab.text_start : vocab.text_end] == list(pieces)
    assert vocab.decode_text(vocab.encode_text("three four")) == "three four"
    assert sld("vocab", *arguments, str(tmp_path / "none")) == 1
    assert "no GPT-2 tokenizer" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert sld("vocab", *arguments, str(tmp_path / "empty")) == 1
    assert "empty: no tokenizer there; give a directory" in capsys.readouterr().err
