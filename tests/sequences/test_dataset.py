"""Examples and batches of units and text."""

import numpy as np
import pytest
import torch
from support.miniature import NUM_UNITS, WORDS, make_provenance, make_utterances

from sld_user_dir.manifests.memory_map import open_manifest
from sld_user_dir.manifests.ragged import Ragged, ragged
from sld_user_dir.manifests.unit_manifest import ManifestError, read_manifest, write_manifest
from sld_user_dir.sequences.dataset import SequenceDataset
from sld_user_dir.sequences.manifest_dataset import dataset_from_manifest
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.tokenizers import WordTokenizer

VOCAB = JointVocabulary.build([" ".join(WORDS)], NUM_UNITS, WordTokenizer())


@pytest.fixture(params=[read_manifest, open_manifest], ids=["in-memory", "mapped"])
def manifest(request, tmp_path):
    write_manifest(tmp_path / "train.tsv", make_utterances(20), make_provenance())
    return request.param(tmp_path / "train.tsv")


def test_sequence_and_padding():
    one, two = VOCAB.encode_text("one")[0], VOCAB.encode_text("two")[0]
    data = SequenceDataset([np.array([3]), np.array([0, 1])], [[one], [two, one]], VOCAB, add_bos=True)
    batch = data.collater([data[0], data[1]])
    unit, sep, pad, eos, bos = VOCAB.unit_offset, VOCAB.separator, VOCAB.pad, VOCAB.eos, VOCAB.bos
    assert batch["net_input"]["src_tokens"].tolist() == [
        [bos, unit + 3, sep, one, pad, pad],
        [bos, unit, unit + 1, sep, two, one],
    ]
    assert batch["target"].tolist() == [[unit + 3, sep, one, eos, pad, pad], [unit, unit + 1, sep, two, one, eos]]
    assert batch["net_input"]["src_lengths"].tolist() == data.sizes.tolist() == [4, 6]
    assert batch["prompt_lengths"].tolist() == [3, 4]
    assert (batch["ntokens"], batch["nsentences"], batch["id"].tolist()) == (10, 2, [0, 1])


@pytest.mark.parametrize("add_bos", [False, True])
def test_dataset_of_a_manifest(manifest, add_bos):
    data = dataset_from_manifest(manifest, VOCAB, 99, SequenceDataset, add_bos=add_bos)
    assert len(data) == 20
    for row, utterance in enumerate(manifest):
        item = data[row]
        assert item["id"] == row
        assert VOCAB.decode_units(item["prompt"].tolist()) == utterance.units.tolist()
        assert VOCAB.decode_text(item["answer"].tolist()) == utterance.text
        assert data.size(row) == len(item["prompt"]) + len(item["answer"]) - 1
        assert item["prompt"].dtype == item["answer"].dtype == torch.int64
        assert data.name(row) == f"{manifest.path}:{manifest.line(row)}"


def test_too_long_lines_are_named_and_ids_stay_rows(manifest, caplog):
    sizes = dataset_from_manifest(manifest, VOCAB, 99, SequenceDataset).sizes
    limit = int(np.median(sizes))
    kept, left_out = np.flatnonzero(sizes <= limit), np.flatnonzero(sizes > limit)
    with pytest.raises(ManifestError, match=f"train.tsv:{manifest.line(left_out[0])}: .*{len(left_out)} such lines"):
        dataset_from_manifest(manifest, VOCAB, limit, SequenceDataset)
    data = dataset_from_manifest(manifest, VOCAB, limit, SequenceDataset, skip_too_long=True)
    assert f"{len(left_out)} of 20 utterances are longer" in caplog.text
    assert [data[i]["id"] for i in range(len(data))] == kept.tolist()
    assert data.sizes.tolist() == sizes[kept].tolist()
    assert data.name(3) == f"{manifest.path}:{manifest.line(kept[3])}"


def test_unknown_text_symbols_are_counted(manifest, caplog):
    few = JointVocabulary.build(["zero one two three"], NUM_UNITS, WordTokenizer())
    dataset_from_manifest(manifest, few, 99, SequenceDataset)
    fours = sum(utterance.text.split().count("four") for utterance in manifest)
    assert f"{fours} text symbols are not in dict.txt" in caplog.text


def test_batches_hold_every_index_once_within_the_limit():
    rng = np.random.default_rng(0)
    data = SequenceDataset([np.zeros(n, int) for n in rng.integers(1, 30, 101)], [[4]] * 101, VOCAB)
    batches = data.batch_by_size(data.ordered_indices(), max_tokens=90, required_batch_size_multiple=8)
    assert sorted(np.concatenate(batches).tolist()) == list(range(101))
    assert max(len(batch) * data.sizes[batch].max() for batch in batches) <= 90


def test_ragged_rows():
    rows = ragged([[1, 2], [], [3]])
    assert [row.tolist() for row in rows] == [[1, 2], [], [3]]
    some = rows.take(np.array([2, 0])).take(np.array([1]))
    assert isinstance(some, Ragged) and some.lengths.tolist() == [2] and some[0].tolist() == [1, 2]
