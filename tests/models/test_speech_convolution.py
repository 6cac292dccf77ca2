"""The convolution over the prompt's units against the sum that its docstring states, in every way through the model."""

from pathlib import Path
from typing import Any, List
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import reference_decoding as reference
from support.decoding import assert_same as assert_same_hypotheses
from support.decoding import build
from support.joint_lm import SLOW
from support.miniature import NUM_UNITS, fairseq_command, make_data, make_provenance, make_utterances, train
from support.packing import CRITERIA, VOCAB, assert_same, criterion, make_batch, make_model, update
from support.tasks import setup
from torch import Tensor, nn

from sld_user_dir.clustering.kmeans_file import Centroids, KMeansError, centroids_sha256
from sld_user_dir.compatibility import ConflictError
from sld_user_dir.errors import InputError
from sld_user_dir.manifests.unit_manifest import write_manifest
from sld_user_dir.models import gpt2
from sld_user_dir.models.centroid_embeddings import centroid_embeddings
from sld_user_dir.models.generation import build_generator
from sld_user_dir.models.prompt_cache import PromptCache
from sld_user_dir.sequences.sequence_format import FORMATS

KERNEL = 3


def rows_of(batch: Any) -> List[List[int]]:
    return [[t for t in row if t != VOCAB.pad] for row in batch["net_input"]["src_tokens"].tolist()]


def embeddings(model: nn.Module, row: List[int]) -> Tensor:
    """(L, C) of one row, unit by unit: the sum of the module's docstring."""
    decoder = model.decoder
    x = decoder.embed_scale * decoder.embed_tokens.weight[row]
    convolution = decoder.speech_convolution.convolution
    is_unit = [token >= VOCAB.unit_offset or token == VOCAB.mask for token in row]
    out = x.clone()
    for t in range(len(row)):
        if is_unit[t]:
            total = convolution.bias.clone()
            for k in range(KERNEL):
                if t - k >= 0 and is_unit[t - k]:
                    total = total + convolution.weight[:, :, KERNEL - 1 - k] @ x[t - k]
            out[t] = x[t] + F.gelu(total)
    return out


def make(**options: Any) -> nn.Module:
    return make_model(speech_conv_kernel=KERNEL, **options)


def test_the_sum_is_that_of_the_docstring() -> None:
    model = make().eval()
    batch = make_batch([0, 1, 2, 6], add_bos=True)
    batch["net_input"]["src_tokens"][1, 3] = VOCAB.mask
    with torch.no_grad():
        logits = model(**batch["net_input"])[0]
        for mine, row in zip(logits, rows_of(batch)):
            with mock.patch.object(
                model.decoder, "with_speech_context", lambda x, *_, row=row: embeddings(model, row)[None]
            ):
                expected = model(torch.tensor([row]))[0][0]
            torch.testing.assert_close(mine[: len(row)], expected, rtol=1e-9, atol=1e-10)


def test_no_unit_sees_a_later_one_and_text_sees_no_convolution() -> None:
    model = make().eval()
    tokens = make_batch([1])["net_input"]["src_tokens"]
    before = model(tokens)[0]
    changed = tokens.clone()
    changed[0, 5] = VOCAB.unit_offset + (changed[0, 5] - VOCAB.unit_offset + 1) % VOCAB.num_units
    after = model(changed)[0]
    assert torch.equal(after[0, :5], before[0, :5]) and not torch.allclose(after[0, 5], before[0, 5])
    text = torch.tensor([[VOCAB.separator, VOCAB.text_start, VOCAB.text_start + 1]])
    x = torch.randn(1, 3, 16, dtype=torch.float64)
    assert torch.equal(model.decoder.with_speech_context(x, text), x)


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("bos", [False, True])
def test_packed_batches(name: str, bos: bool) -> None:
    model, rule = make(), criterion(name)
    expected = update(model, rule, [make_batch([0, 1, 3, 5, 6], add_bos=bos)])
    assert_same(update(model, rule, [make_batch([0, 1, 3, 5, 6], add_bos=bos, packed=True)]), expected)


def test_decoding_equals_plain_forwards() -> None:
    model = make().eval()
    assert PromptCache.supports(model) is None
    batch = make_batch([0, 1, 3, 6])
    emitted = [VOCAB.eos, *VOCAB.text_ids]
    found = build([model], VOCAB, beam=3, max_len_b=5).generate([model], batch)
    for row, length, hypotheses in zip(rows_of(batch), batch["prompt_lengths"].tolist(), found):
        scorer = reference.model_scorer([model], row[:length], emitted, 1.0)
        assert_same_hypotheses(hypotheses, reference.beam_search(scorer, VOCAB.eos, 3, 5))


def test_prompt_logits_are_the_models_own() -> None:
    model = make().eval()
    batch = make_batch([0, 1, 3])
    tokens, lengths = batch["net_input"]["src_tokens"], batch["prompt_lengths"]
    longest = int(lengths.max())
    prompts = tokens[:, :longest].masked_fill(torch.arange(longest) >= lengths[:, None], VOCAB.pad)
    cache = PromptCache(model, prompts, lengths, beams=2, outputs=VOCAB.text_end, every_position=True)
    expected = model(tokens)[0][..., : VOCAB.text_end]
    for row, length in enumerate(lengths.tolist()):
        assert cache.prompt_logits is not None
        torch.testing.assert_close(cache.prompt_logits[row, :length], expected[row, :length], rtol=1e-9, atol=1e-10)
    last = expected[torch.arange(len(lengths)), lengths - 1]
    torch.testing.assert_close(cache.first_logits, last, rtol=1e-9, atol=1e-10)


def test_what_cannot_have_it_is_refused(mini: Any) -> None:
    model = make().eval()
    with pytest.raises(InputError, match="--speech-conv-kernel: no incremental decoding"):
        model.decoder(make_batch([0])["net_input"]["src_tokens"], incremental_state={})
    for options, problem in ((SLOW["quantisation"], "quantisation noise"), (SLOW["adaptive-input"], "adaptive input")):
        with pytest.raises(InputError, match=problem):
            make(**options)
    with pytest.raises(InputError, match="--speech-conv-kernel -1"):
        make_model(speech_conv_kernel=-1)
    with pytest.raises(gpt2.UnsupportedGPT2, match="--speech-conv-kernel"):
        gpt2._check_exportable(model)
    with pytest.raises(InputError, match="can't emit units"):
        build_generator([model], VOCAB, None, sequence=FORMATS["slm"])
    config, task = setup(mini, "--speech-conv-kernel", 3, "--input-mask-prob", "0.3", "--input-mask-tokens", "all")
    with pytest.raises(ConflictError, match="--input-mask-tokens speech"):
        task.build_model(config.model)


def test_embeddings_start_from_the_centroids() -> None:
    """Distances between centroids are those between embeddings, up to scale, where the width allows it."""
    rng = np.random.default_rng(0)
    centroids = Centroids(rng.normal(size=(9, 4)).astype(np.float32), "km.npz")
    random = torch.randn(9, 6)
    found = centroid_embeddings(centroids, random)
    assert torch.equal(found[:, 4:], random[:, 4:])
    values = torch.from_numpy(centroids.values)
    ratio = torch.pdist(found[:, :4]) / torch.pdist(values)
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-4, atol=0)
    assert float(found[:, :4].square().mean()) == pytest.approx(1 / 6, rel=1e-5)
    narrow = centroid_embeddings(centroids, torch.randn(9, 2))
    assert float(narrow[:, 0].var()) > float(narrow[:, 1].var())  # principal components, the first one first


@pytest.fixture
def data_of_kmeans(tmp_path: Path) -> Path:
    """A data directory whose units say that they are of the k-means.npz in it."""
    data = make_data(tmp_path / "data", train=9, valid=4, test=5)
    values = np.random.default_rng(0).normal(size=(NUM_UNITS, 5)).astype(np.float32)
    Centroids.save(data / "kmeans.npz", values, {})
    for split, count in (("train", 9), ("valid", 4), ("test", 5)):
        write_manifest(data / f"{split}.tsv", make_utterances(count), make_provenance(kmeans=centroids_sha256(values)))
    return data


def test_centroids_of_other_units_are_refused(data_of_kmeans: Path) -> None:
    values = np.zeros((NUM_UNITS + 1, 5), np.float32)
    Centroids.save(data_of_kmeans / "larger.npz", values, {})
    config, task = setup(data_of_kmeans, "--init-unit-embeddings", data_of_kmeans / "larger.npz")
    with pytest.raises(InputError, match=f"{NUM_UNITS + 1} centroids for {NUM_UNITS} units"):
        task.build_model(config.model)
    Centroids.save(data_of_kmeans / "other.npz", values[1:], {})
    config, task = setup(data_of_kmeans, "--init-unit-embeddings", data_of_kmeans / "other.npz")
    task.build_model(config.model)
    with pytest.raises(KMeansError, match=r"other\.npz is k-means"):
        task.load_dataset("train")


def test_a_checkpoints_embeddings_stay(data_of_kmeans: Path) -> None:
    config, task = setup(data_of_kmeans, "--init-unit-embeddings", data_of_kmeans / "kmeans.npz")
    units = slice(task.vocab.unit_offset, None)
    torch.manual_seed(0)
    started = task.build_model(config.model).decoder.embed_tokens.weight[units]
    torch.manual_seed(0)
    loaded = task.build_model(config.model, from_checkpoint=True).decoder.embed_tokens.weight[units]
    centroids = Centroids.load(data_of_kmeans / "kmeans.npz")
    torch.testing.assert_close(started, centroid_embeddings(centroids, loaded.detach()))
    assert not torch.equal(started, loaded)


def test_train_and_generate_with_both(data_of_kmeans: Path, tmp_path: Path) -> None:
    """What decoding needs is in the checkpoint, the k-means file is not."""
    mini, mini_kmeans = data_of_kmeans, data_of_kmeans / "kmeans.npz"
    options = ["--speech-conv-kernel", "3", "--ctc-weight", "0.5", "--eval-wer", "--decode-ctc-weight", "0.5"]
    lines = train(mini, tmp_path, *options, "--init-unit-embeddings", mini_kmeans, updates=2)
    assert any('"valid_wer"' in line for line in lines)
    mini_kmeans.unlink()
    for weight in ("0.5", "0"):
        done = fairseq_command(
            "generate", mini, "--path", tmp_path / "checkpoint_last.pt", "--gen-subset", "test", "--max-len-b", "9",
            "--decode-ctc-weight", weight,
        )  # fmt: skip
        assert done.stdout.count("\nH-") == 5
