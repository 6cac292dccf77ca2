"""Memory-mapped manifests against `read_manifest`, which parses line by line."""

import multiprocessing
import os
from pathlib import Path
from typing import List

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.miniature import make_provenance, make_utterances

from sld_user_dir.manifests import fast_reader as parse
from sld_user_dir.manifests import memory_map as mmap
from sld_user_dir.manifests.memory_map import MappedManifest, open_manifest
from sld_user_dir.manifests.unit_manifest import Manifest, ManifestError, read_manifest, write_manifest
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.tokenizers import build_text_tokenizer

NUM_UNITS = 12
HEAD = (
    '# format: "speech-unit-manifest/1"\n'
    '# provenance: {"encoder": "x", "layer": null, "frame_rate_hz": 25.0, "kmeans": "k", "num_units": 12}\n'
)
ROWS = "id\tunits\ttext\na\t1 2\tyes\nb\t3\tno\n"


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path) -> Path:
    place = tmp_path / "data" / "train.tsv"
    write_manifest(place, make_utterances(40), make_provenance(), {"license": "CC0", "note": "ä"})
    return place


def text_file(tmp_path: Path, text: str) -> Path:
    place = tmp_path / "m.tsv"
    place.write_bytes(text.encode("utf-8", "surrogateescape"))
    return place


def assert_same(mapped, plain: Manifest) -> None:
    assert len(mapped) == len(plain)
    assert (mapped.provenance, mapped.header, mapped.columns) == (plain.provenance, plain.header, plain.columns)
    assert np.array_equal(mapped.units, plain.units)
    assert np.array_equal(mapped.offsets, plain.offsets)
    for name in set(plain.columns) - {"units"}:
        assert mapped.column(name) == plain.column(name)
    for row, (mine, theirs) in enumerate(zip(mapped, plain)):
        assert mapped.line(row) == plain.line(row)
        assert np.array_equal(mapped.units_of(row), theirs.units)
        assert np.array_equal(mine.units, theirs.units) and mine.units.dtype == theirs.units.dtype
        assert (mine.id, mine.text, mine.fields) == (theirs.id, theirs.text, theirs.fields)
        assert np.array_equal(mine.durations, theirs.durations)


def test_same_as_read_manifest(path):
    mapped = open_manifest(path)
    assert isinstance(mapped, MappedManifest)
    assert_same(mapped, read_manifest(path))


@pytest.mark.parametrize("chunk_bytes", [1, 100])
def test_rows_in_many_chunks(path, chunk_bytes, monkeypatch):
    monkeypatch.setattr(parse, "CHUNK_BYTES", chunk_bytes)
    assert_same(open_manifest(path), read_manifest(path))


COLLAPSED = HEAD.replace('"num_units"', '"deduplicated": true, "num_units"')

GOOD = {
    "de-duplicated": COLLAPSED + "id\tunits\ttext\na\t1 2\tyes\nb\t2 1\tno\nc\t1\tno\n",
    "durations": HEAD + "id\tdurations\tunits\ttext\na\t2 1\t1 2\tyes\nb\t7\t3\tno\n",
    "spaces": HEAD + "id\tunits\ttext\na\t 1  2 \tyes\nb\t003\tno\n",
    "units-last": HEAD + "text\tid\tunits\nyes\ta\t1 2\nzwölf\tb\t3\n",
    "no-newline-at-the-end": (HEAD + ROWS).rstrip("\n"),
    "no-rows": HEAD + "id\tunits\ttext\n",
    "windows": (HEAD + ROWS).replace("\n", "\r\n"),
    "windows-with-a-further-column": (HEAD + "id\tunits\ttext\tspeaker\na\t1 2\tyes\tann\n").replace("\n", "\r\n"),
    "windows-units-last": (HEAD + "text\tid\tunits\nyes\ta\t1 2\n").replace("\n", "\r\n"),
    "windows-without-an-end": (HEAD + ROWS).replace("\n", "\r\n").rstrip("\n"),
    "one-carriage-return": (HEAD + ROWS).replace("no\n", "no\r\n"),
    "carriage-returns-inside": (HEAD + ROWS).replace("no\n", "n\ro\n"),
    "carriage-returns-in-a-further-column": HEAD + "id\tspeaker\tunits\ttext\na\ta\rnn\t1 2\tyes\n",
    "byte-order-mark": "\ufeff" + HEAD + ROWS,
    "byte-order-marks-inside": (HEAD + ROWS).replace("\nb\t", "\n\ufeffb\t"),
    "blank-end": HEAD + ROWS + "\n  \n\t\t\n\u2028\n\r\n",
    "blank-end-of-no-rows": HEAD + "id\tunits\ttext\n\n",
    "line-separators": HEAD + "id\tunits\ttext\na\u2028b\t1 2\tyes\x85no\x0cyes\x1c\u2029\n",
}


@pytest.mark.parametrize("name", GOOD)
def test_shapes_of_manifests(name, tmp_path):
    place = text_file(tmp_path, GOOD[name])
    mapped = open_manifest(place)
    assert isinstance(mapped, MappedManifest)
    assert_same(mapped, read_manifest(place))


BAD = {
    "runs": COLLAPSED + "id\tunits\ttext\na\t1 2\tyes\nb\t2 2 1\tno\nc\t1\tno\n",
    "runs-in-the-last-row": COLLAPSED + "id\tunits\ttext\na\t1 2\tyes\nb\t3 1 1\tno\n",
    "two-manifests": HEAD + ROWS + HEAD.replace('"k"', '"l"') + ROWS,
    "empty-file": "",
    "header-only": HEAD,
    "no-header": ROWS,
    "bad-header": HEAD + "# x\n" + ROWS,
    "no-provenance": HEAD.split("\n")[0] + "\n" + ROWS,
    "no-text": HEAD + "id\tunits\na\t1\n",
    "repeated-column": HEAD + "id\tunits\ttext\ttext\na\t1 2\tx\ty\n",
    "columns": HEAD + ROWS + "c\t1\n",
    "empty-line": HEAD + ROWS + "\nc\t1\tx\n",
    "line-of-tabs": HEAD + ROWS + "\t\t\nc\t1\tx\n",
    "nul": HEAD + ROWS + "c\t1\tx\0y\n",
    "utf-16": (HEAD + ROWS).encode("utf-16").decode("utf-8", "surrogateescape"),
    "git-lfs-pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n",
    "carriage-return-in-an-id": HEAD + ROWS + "c\rd\t1\tx\n",
    "byte-order-mark-in-an-id": HEAD + "text\tid\tunits\nyes\t\ufeffa\t1 2\n",
    "empty-id": HEAD + ROWS + "\t1\tx\n",
    "duplicate": HEAD + ROWS + "a\t1\tx\n",
    "empty-text": HEAD + ROWS + "c\t1\t \n",
    "no-units": HEAD + ROWS + "c\t\tx\n",
    "spaces-for-units": HEAD + ROWS + "c\t  \tx\n",
    "negative": HEAD + ROWS + "c\t1 -2\tx\n",
    "fraction": HEAD + ROWS + "c\t1 2.5\tx\n",
    "word": HEAD + ROWS + "c\t1 two\tx\n",
    "too-large": HEAD + ROWS + "c\t12\tx\n",
    "huge": HEAD + ROWS + "c\t99999999999999999999999\tx\n",
    "other-digits": HEAD + ROWS + "c\t١\tx\n",
    "too-few-durations": HEAD + "id\tunits\ttext\tdurations\na\t1 2\tx\t3\n",
    "durations-of-the-neighbour": HEAD + "id\tunits\ttext\tdurations\na\t1 2\tx\t3\nb\t1\tx\t3 4\n",
    "no-duration": HEAD + "id\tunits\ttext\tdurations\na\t1 2\tx\t3 0\n",
    "not-utf8": HEAD + ROWS + "c\t1\t\udcff\n",
    "not-utf8-header": HEAD + "# x: \udcff\n" + ROWS,
}


@pytest.mark.parametrize("chunk_bytes", [1, parse.CHUNK_BYTES])
@pytest.mark.parametrize("name", BAD)
def test_errors_are_those_of_read_manifest(name, chunk_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(parse, "CHUNK_BYTES", chunk_bytes)
    place = text_file(tmp_path, BAD[name])
    with pytest.raises(ManifestError) as expected:
        read_manifest(place)
    with pytest.raises(ManifestError) as raised:
        open_manifest(place)
    assert str(raised.value) == str(expected.value)
    assert not list(tmp_path.glob(".mmap/*m.tsv.[0-9a-f]*")) and not list(tmp_path.glob(".mmap/partial*"))


def test_missing_file(tmp_path):
    with pytest.raises(ManifestError, match="no such manifest"):
        open_manifest(tmp_path / "none.tsv")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=9), min_size=1, max_size=9), st.data())
def test_numbers(rows: List[List[int]], data):
    gap = data.draw(st.sampled_from([" ", "  "]))
    numbers, counts = parse.parse_rows([gap.join(map(str, row)).encode() for row in rows])
    assert numbers.tolist() == [number for row in rows for number in row]
    assert counts.tolist() == [len(row) for row in rows]


def test_second_opening_parses_nothing(path, monkeypatch):
    first = open_manifest(path)
    for function in ("parse_chunks", "read_manifest"):
        monkeypatch.setattr(mmap, function, None)
    assert open_manifest(path).directory == first.directory


def age(path: Path, monkeypatch) -> None:
    """Let the file be older than what counts as just written."""
    monkeypatch.setattr(mmap, "RACY_NS", 0)


def test_an_old_file_is_known_by_its_signature(path, monkeypatch):
    age(path, monkeypatch)
    open_manifest(path)
    monkeypatch.setattr(mmap, "_content_hash", None)  # so its bytes are not even read
    assert len(open_manifest(path)) == 40


def test_a_touched_or_copied_file_keeps_its_map(path, monkeypatch):
    age(path, monkeypatch)
    open_manifest(path)
    os.utime(path, (1, 1))
    monkeypatch.setattr(mmap, "parse_chunks", None)
    assert len(open_manifest(path)) == 40


@pytest.mark.parametrize("old", [False, True])
def test_a_changed_file_gets_a_new_map(path, old, monkeypatch):
    if old:
        age(path, monkeypatch)
    before = open_manifest(path)
    path.write_text(path.read_text().replace("utt7\t", "uttX\t"))  # of the same size
    after = open_manifest(path)
    assert after[7].id == "uttX"
    assert before[7].id == "utt7"  # whoever has the old one open keeps it
    assert not before.directory.exists()


def test_two_manifests_of_similar_names(path):
    other = path.with_name("train.tsv.tsv")
    write_manifest(other, make_utterances(3), make_provenance())
    for _ in range(2):
        assert (len(open_manifest(path)), len(open_manifest(other))) == (40, 3)


def test_a_damaged_map_is_made_anew(path):
    directory = open_manifest(path).directory
    (directory / "meta.json").write_text("{")
    assert_same(open_manifest(path), read_manifest(path))


def _unwritable(monkeypatch, *places: Path) -> None:
    """As file permissions would do it, which root, who runs tests in containers, doesn't obey."""
    mkdir = Path.mkdir

    def refuse(self, *args, **kwargs):
        if any(place in (self, *self.parents) for place in places):
            raise PermissionError(13, "Permission denied", str(self))
        return mkdir(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", refuse)


def test_read_only_data_directory(path, tmp_path, monkeypatch):
    _unwritable(monkeypatch, path.parent)
    mapped = open_manifest(path)
    assert tmp_path / "cache" in mapped.directory.parents
    assert_same(mapped, read_manifest(path))
    monkeypatch.setattr(mmap, "parse_chunks", None)
    assert open_manifest(path).directory == mapped.directory


def test_nothing_can_be_written(path, tmp_path, monkeypatch, caplog):
    _unwritable(monkeypatch, path.parent, tmp_path / "cache")
    plain = open_manifest(path)
    assert isinstance(plain, Manifest) and len(plain) == 40
    assert "no cache directory" in caplog.text


def _open_and_count(arguments) -> int:
    path, cache = arguments
    os.environ["XDG_CACHE_HOME"] = cache
    return sum(len(u.units) for u in open_manifest(path))


def test_several_processes_at_once(path, tmp_path):
    with multiprocessing.get_context("fork").Pool(6) as pool:
        totals = pool.map(_open_and_count, [(path, str(tmp_path / "cache"))] * 12, chunksize=1)
    assert set(totals) == {len(read_manifest(path).units)}
    assert len(list((path.parent / ".mmap").glob("train.tsv.[0-9a-f]*"))) == 1
    assert not list((path.parent / ".mmap").glob("partial*"))


def test_without_locks_the_first_one_wins(path, monkeypatch):
    """Both found nothing and both build, as on a file system without locks."""
    root = path.parent / ".mmap"
    root.mkdir()
    assert mmap._build(path, root) == mmap._build(path, root)
    assert not list(root.glob("partial*"))
    assert_same(open_manifest(path), read_manifest(path))


def test_a_failed_build_leaves_nothing(path, monkeypatch):
    monkeypatch.setattr(mmap.np, "concatenate", None)
    with pytest.raises(TypeError):
        open_manifest(path)
    assert not list((path.parent / ".mmap").iterdir())


def make_vocab(symbols: str) -> JointVocabulary:
    return JointVocabulary.build([symbols], NUM_UNITS, build_text_tokenizer("char", Path()))


def test_encoded_texts_are_kept_for_each_vocabulary(path, monkeypatch):
    mapped = open_manifest(path)
    texts = mapped.column("text")
    for symbols, gaps in (("abcdefghijklm nopqrstuvwxyz", False), ("efno rtuwz", True)):
        vocab = make_vocab(symbols)
        rows, unknown = mapped.encoded_texts(vocab)
        expected = [vocab.encode_text(text) for text in texts]
        assert [row.tolist() for row in rows] == expected
        assert rows.lengths.tolist() == [len(row) for row in expected]
        assert unknown == sum(row.count(vocab.unk) for row in expected)
        assert (unknown > 0) == gaps
        with monkeypatch.context() as patch:
            patch.setattr(vocab, "encode_text", None)
            assert open_manifest(path).encoded_texts(vocab)[1] == unknown


def test_encoded_texts_in_anothers_cache(path, monkeypatch):
    mapped, vocab = open_manifest(path), make_vocab("ab c")

    def refuse(parent):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(mmap, "scratch_directory", refuse)
    rows, unknown = mapped.encoded_texts(vocab)
    assert [row.tolist() for row in rows] == [vocab.encode_text(text) for text in mapped.column("text")]
    assert unknown > 0


def test_large_unit_vocabularies_are_not_wrapped(tmp_path):
    place = text_file(
        tmp_path, HEAD.replace('"num_units": 12', '"num_units": 70000') + "id\tunits\ttext\na\t69999 1\tx\n"
    )
    assert open_manifest(place).units.tolist() == [69999, 1]
