"""Prefix-LM attention against fairseq's own attention under a mask that is written down here."""

from contextlib import nullcontext
from typing import Any, Dict, List
from unittest import mock

import pytest
import torch
from support import reference_decoding as reference
from support.decoding import assert_same as assert_same_hypotheses
from support.decoding import build
from support.joint_lm import SLOW
from support.miniature import fairseq_command, train
from support.packing import CRITERIA, TASK, VOCAB, assert_same, criterion, make_batch, make_model, update
from support.tasks import setup
from torch import nn

from sld_user_dir.compatibility import ConflictError
from sld_user_dir.models import gpt2
from sld_user_dir.models.prefix_mask import prefix_mask
from sld_user_dir.models.prompt_cache import PromptCache
from sld_user_dir.tasks.speech_unit_lm import SpeechUnitLMConfig, SpeechUnitLMTask

# fairseq's own, on every call of its decoder
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")


def oracle(model: nn.Module, tokens: List[int]) -> torch.Tensor:
    """(L, V): fairseq's own layers and attention on one row without padding, under an additive mask."""
    prompt = tokens.index(VOCAB.separator) + 1 if VOCAB.separator in tokens else 0
    mask = torch.full((len(tokens), len(tokens)), float("-inf"), dtype=torch.float64)
    for i in range(len(tokens)):
        for j in range(len(tokens)):
            if j <= i or (i < prompt and j < prompt):
                mask[i, j] = 0.0
    stock = {"prefix_end": None, "_fast": lambda: False, "buffered_future_mask": lambda _: mask}
    with mock.patch.multiple(model.decoder, **stock):
        return model(torch.tensor([tokens]))[0][0]


def gradients(model: nn.Module, loss: torch.Tensor) -> Dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def rows_of(batch: Dict[str, Any]) -> List[List[int]]:
    return [[t for t in row if t != VOCAB.pad] for row in batch["net_input"]["src_tokens"].tolist()]


STYLES: List[Dict[str, Any]] = [{}, {"decoder_normalize_before": False}, {"checkpoint_activations": True}]


@pytest.mark.parametrize("options", STYLES, ids=str)
def test_forward_and_gradients_are_fairseqs_under_the_mask(options: Dict[str, Any]) -> None:
    model = make_model(prefix_lm=True, **options).train()
    batch = make_batch([0, 1, 2, 6])
    logits, rows = model(**batch["net_input"])[0], rows_of(batch)
    expected = [oracle(model, row) for row in rows]
    for mine, theirs in zip(logits, expected):
        torch.testing.assert_close(mine[: len(theirs)], theirs, rtol=1e-9, atol=1e-10)
    slopes = [torch.randn_like(theirs) for theirs in expected]
    ours, fairseqs = (
        gradients(model, torch.stack([(z[: len(slope)] * slope).sum() for z, slope in zip(values, slopes)]).sum())
        for values in (logits, expected)
    )
    torch.testing.assert_close(ours, fairseqs, rtol=1e-9, atol=1e-9)
    causal = make_model(**options)(**batch["net_input"])[0]
    assert not torch.allclose(causal[0, :3], logits[0, :3])


def test_text_sees_no_later_text_and_prompts_see_themselves() -> None:
    model = make_model(prefix_lm=True).eval()
    tokens = make_batch([1])["net_input"]["src_tokens"]
    end = tokens[0].tolist().index(VOCAB.separator)
    before = model(tokens)[0]
    changed = tokens.clone()
    changed[0, -1] = VOCAB.text_start + (changed[0, -1] - VOCAB.text_start + 1) % 4
    assert torch.equal(model(changed)[0][0, :-1], before[0, :-1])
    changed = tokens.clone()
    changed[0, end - 1] = VOCAB.unit_offset + (changed[0, end - 1] - VOCAB.unit_offset + 1) % 6
    assert not torch.isclose(model(changed)[0][0, 0], before[0, 0]).all()


def test_rows_without_separator_are_causal() -> None:
    mask = prefix_mask(torch.tensor([[4, 5, 6], [4, 9, 6]]), separator=9)
    assert mask[0, 0].tolist() == torch.ones(3, 3).tril().bool().tolist()
    assert mask[1, 0].tolist() == [[True, True, False], [True, True, False], [True, True, True]]


@pytest.mark.parametrize("bos", [False, True])
def test_packed_batches(bos: bool) -> None:
    model, rule = make_model(prefix_lm=True), criterion("masked_ce")
    expected = update(model, rule, [make_batch([0, 1, 3, 5, 6], add_bos=bos)])
    actual = update(model, rule, [make_batch([0, 1, 3, 5, 6], add_bos=bos, packed=True)])
    assert_same(actual, expected)


@pytest.mark.parametrize("name", [name for name in CRITERIA if name != "masked_ce"])
def test_a_loss_on_speech_is_refused(name: str) -> None:
    for prefix_lm in (False, True):
        check = SpeechUnitLMTask(SpeechUnitLMConfig(), VOCAB).compatibility
        check.add_model(make_model(prefix_lm=prefix_lm))
        with pytest.raises(ConflictError, match="use --criterion masked_ce") if prefix_lm else nullcontext():
            check.add_objective(criterion(name))


def test_what_lacks_the_mask_is_refused(mini: Any) -> None:
    tokens = make_batch([0, 1])["net_input"]["src_tokens"]
    model = make_model(prefix_lm=True).eval()
    with pytest.raises(ValueError, match="no incremental decoding"):
        model.decoder(tokens, incremental_state={})
    with pytest.raises(ValueError, match="no padding on the left"):
        model(tokens.flip(1))
    with pytest.raises(ValueError, match="quantisation noise"):
        make_model(prefix_lm=True, **SLOW["quantisation"])
    with pytest.raises(ValueError, match="adaptive input"):
        make_model(prefix_lm=True, **SLOW["adaptive-input"])
    with pytest.raises(gpt2.UnsupportedGPT2, match="--prefix-lm"):
        gpt2._check_exportable(model)
    config, task = setup(mini, "--prefix-lm", "--input-mask-prob", "0.3", "--input-mask-tokens", "all")
    with pytest.raises(ValueError, match="--input-mask-tokens speech"):
        task.build_model(config.model)


def test_attention_dropout_trains() -> None:
    model = make_model(prefix_lm=True, attention_dropout=0.5)
    batch = make_batch([0, 1])
    first, second = (model(**batch["net_input"])[0] for _ in range(2))
    assert not torch.allclose(first, second)
    criterion("masked_ce")(model, batch)[0].backward()


def test_prompt_cache_gives_the_models_own_logits() -> None:
    model = make_model(prefix_lm=True).eval()
    assert PromptCache.supports(model) is None
    batch = make_batch([0, 1, 3, 6])
    tokens, lengths = batch["net_input"]["src_tokens"], batch["prompt_lengths"]
    longest = int(lengths.max())
    prompts = tokens[:, :longest].masked_fill(torch.arange(longest) >= lengths[:, None], VOCAB.pad)
    cache = PromptCache(model, prompts, lengths, beams=1)
    rows = torch.arange(len(tokens))
    torch.testing.assert_close(cache.first_logits, model(tokens)[0][rows, lengths - 1], rtol=1e-9, atol=1e-10)
    step = cache.step(tokens[rows, lengths][:, None], torch.zeros(len(rows), 1, dtype=torch.long))
    torch.testing.assert_close(step[:, 0], model(tokens)[0][rows, lengths], rtol=1e-9, atol=1e-10)


def test_decoding_equals_plain_forwards() -> None:
    model = make_model(prefix_lm=True).eval()
    batch = make_batch([0, 1, 3, 6])
    emitted = [VOCAB.eos, *VOCAB.text_ids]
    found = build([model], VOCAB, beam=3, max_len_b=5).generate([model], batch)
    for row, length, hypotheses in zip(rows_of(batch), batch["prompt_lengths"].tolist(), found):
        scorer = reference.model_scorer([model], row[:length], emitted, 1.0)
        assert_same_hypotheses(hypotheses, reference.beam_search(scorer, VOCAB.eos, 3, 5))


def test_train_and_generate(mini: Any, tmp_path: Any) -> None:
    """The option is in the checkpoint: decoding needs no flag."""
    lines = train(mini, tmp_path, "--prefix-lm", "--pack-utterances", "--eval-wer", criterion="masked_ce", updates=2)
    assert any('"valid_wer"' in line for line in lines)
    done = fairseq_command(
        "generate", mini, "--path", tmp_path / "checkpoint_last.pt", "--gen-subset", "test", "--max-len-b", "9"
    )
    assert done.stdout.count("\nH-") == 11


def test_separator_is_the_vocabularys() -> None:
    assert make_model(prefix_lm=True).decoder.prefix_end == TASK.vocab.separator
    assert make_model().decoder.prefix_end is None
