"""A transcript that a tokenizer refuses is named with its line, wherever transcripts are encoded."""

import numpy as np
import pytest
from support.commands import sld

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.memory_map import open_manifest
from sld_user_dir.manifests.provenance import UnitProvenance
from sld_user_dir.manifests.unit_manifest import Utterance, read_manifest, write_manifest
from sld_user_dir.pipeline.length_limits import LengthLimits, limit_manifest
from sld_user_dir.sequences.manifest_dataset import encoded_texts
from sld_user_dir.vocabulary.building import build_vocabulary

MESSAGE = r"{name}\.tsv:4: the transcript 'one\|two' contains '\|', which stands for the space; remove it from the text"


def manifest(folder, name: str, *texts: str):
    rows = [Utterance(f"u{i}", np.array([i]), text) for i, text in enumerate(texts)]
    write_manifest(folder / f"{name}.tsv", rows, UnitProvenance.unknown(9))
    return folder / f"{name}.tsv"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_where_the_vocabulary_is_built(folder, capsys):
    manifest(folder, "train", "one|two", "three")
    with pytest.raises(InputError, match=MESSAGE.format(name="train")):
        build_vocabulary(folder)
    assert sld("vocab", "--data", folder) == 1
    assert "train.tsv:4: the transcript 'one|two'" in capsys.readouterr().err
    assert not (folder / "dict.txt").exists()


def test_where_transcripts_are_encoded(folder):
    manifest(folder, "train", "one two", "three")
    vocab = build_vocabulary(folder)
    path = manifest(folder, "valid", "one|two", "three")
    message = MESSAGE.format(name="valid")
    for opened in (open_manifest(path), read_manifest(path)):
        with pytest.raises(InputError, match=message):
            encoded_texts(opened, vocab)
    with pytest.raises(InputError, match=message):
        limit_manifest(path, folder / "short.tsv", vocab, LengthLimits(max_tokens=99))
    assert not list(folder.glob(".mmap/*/text-*")) and not (folder / "short.tsv").exists()


def test_a_long_transcript_is_shown_in_part(folder):
    manifest(folder, "train", "one|" + "two " * 1000)
    with pytest.raises(InputError) as error:
        build_vocabulary(folder)
    assert len(str(error.value)) < 300
