"""StableMask against the paper's equation, written with its matrices, in every way through the model."""

import math
from typing import Any, Dict, List
from unittest import mock

import pytest
import torch
from support import reference_decoding as reference
from support.decoding import assert_same as assert_same_hypotheses
from support.decoding import build
from support.joint_lm import SLOW
from support.miniature import fairseq_command, train
from support.packing import CRITERIA, VOCAB, assert_same, criterion, make_batch, make_model, update
from support.tasks import setup
from torch import Tensor, nn

from sld_user_dir.compatibility import ConflictError
from sld_user_dir.errors import InputError
from sld_user_dir.models import causal_decoder, gpt2
from sld_user_dir.models.dropped_attention import dropped_causal_attention
from sld_user_dir.models.prompt_cache import PromptCache
from sld_user_dir.models.stable_mask import StableMask, with_pseudo_key, without_pseudo_key

DECAY = 0.3


def make(**options: Any) -> nn.Module:
    return make_model(stable_mask=True, stable_mask_decay=DECAY, **options)


def oracle(q: Tensor, k: Tensor, v: Tensor, decay: float) -> Tensor:
    """(softmax(A * C + P) * C) V of queries, keys and values (B, H, L, D), row by row.

    The matrices are as wide as it takes for the pseudo-scores further to the right to be lost in rounding.
    """
    length, columns = q.size(2), math.ceil(40 / decay) + q.size(2)
    rows = []
    for r in range(length):
        scores = torch.stack([(q[:, :, r] * k[:, :, c]).sum(-1) for c in range(r + 1)], dim=-1) * q.size(3) ** -0.5
        pseudo = torch.tensor([-decay * c for c in range(r + 1, columns)], dtype=q.dtype)
        row = torch.cat([scores, pseudo.expand(*q.shape[:2], -1)], dim=-1)
        weights = torch.softmax(row, dim=-1)[..., : r + 1]
        rows.append((weights[..., None] * v[:, :, : r + 1]).sum(2))
    return torch.stack(rows, dim=2)


def attend(q: Tensor, k: Tensor, v: Tensor, decay: float) -> Tensor:
    """The product's attention of heads, without dropout."""
    log_mass = StableMask(decay).log_mass(torch.arange(q.size(2)))
    keyed = with_pseudo_key(q * q.size(3) ** -0.5, k, v, log_mass)
    return without_pseudo_key(causal_decoder._attend_heads(*keyed, p=0.0, scale=1.0))


def heads(*shape: int) -> List[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize("decay", [0.1, 0.5, 3.0])
def test_attention_is_the_papers_equation(decay: float) -> None:
    q, k, v = heads(1, 2, 5, 4)
    torch.testing.assert_close(attend(q, k, v, decay), oracle(q, k, v, decay), rtol=1e-10, atol=1e-12)


def test_weights_sum_to_less_than_one_and_to_more_further_right() -> None:
    q, k, v = heads(1, 1, 6, 4)
    sums = attend(q, torch.zeros_like(k), torch.ones_like(v), DECAY)[0, 0, :, 0]
    mass = [math.exp(-DECAY * (r + 1)) / (1 - math.exp(-DECAY)) for r in range(6)]
    expected = torch.tensor([(r + 1) / (r + 1 + mass[r]) for r in range(6)], dtype=torch.float64)
    torch.testing.assert_close(sums, expected)
    assert bool((sums.diff() > 0).all()) and float(sums[-1]) < 1


def test_gradients() -> None:
    inputs = [part.requires_grad_() for part in heads(1, 2, 5, 3)]
    assert torch.autograd.gradcheck(lambda q, k, v: attend(q, k, v, DECAY), inputs)


def test_dropped_attention_takes_the_key() -> None:
    """Of the kernel with dropout: with a probability too small to drop anything, value and gradients."""
    q, k, v = (part.requires_grad_() for part in heads(2, 2, 70, 4))
    log_mass = StableMask(DECAY).log_mass(torch.arange(70))
    keyed = with_pseudo_key(q * 0.5, k, v, log_mass)
    slope = torch.randn_like(v)
    found = []
    for value in (without_pseudo_key(dropped_causal_attention(*keyed, p=1e-9, scale=1.0)), attend(q, k, v, DECAY)):
        found.append((value, torch.autograd.grad((value * slope).sum(), (q, k, v), retain_graph=True)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-7)


def test_half_precision_is_as_exact_as_ordinary_attention() -> None:
    q, k, v = heads(1, 2, 200, 16)
    half = [part.bfloat16() for part in (q, k, v)]
    exact = [part.double() for part in half]
    decay = 0.01
    ours = (attend(*half, decay).double() - attend(*exact, decay)).abs().max()
    plain, precise = (
        torch.nn.functional.scaled_dot_product_attention(*parts, is_causal=True) for parts in (half, exact)
    )
    assert float(ours) < 2 * float((plain.double() - precise).abs().max())


def rows_of(batch: Dict[str, Any]) -> List[List[int]]:
    return [[t for t in row if t != VOCAB.pad] for row in batch["net_input"]["src_tokens"].tolist()]


def by_equation(attention: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any = None, log_mass: Any = None) -> Tensor:
    """In place of `causal_decoder._attend`."""
    shape = (attention.num_heads, attention.head_dim)
    split = [part.unflatten(-1, shape).transpose(1, 2) for part in (q, k, v)]
    return oracle(*split, DECAY).transpose(1, 2).flatten(2)


@pytest.mark.parametrize(
    "options", [{}, {"decoder_normalize_before": False}, {"checkpoint_activations": True}], ids=str
)
def test_model_and_gradients_are_those_of_the_equation(options: Dict[str, Any]) -> None:
    model, rule = make(**options), criterion("paper")
    found = update(model, rule, [make_batch([0, 1, 2, 6])])
    with mock.patch.object(causal_decoder, "_attend", by_equation):
        expected = update(model, rule, [make_batch([0, 1, 2, 6])])
    assert_same(found, expected)
    assert not torch.isclose(found["loss"], update(make_model(**options), rule, [make_batch([0, 1, 2, 6])])["loss"])


@pytest.mark.parametrize("name", CRITERIA)
def test_packed_batches(name: str) -> None:
    model, rule = make(), criterion(name)
    expected = update(model, rule, [make_batch([0, 1, 3, 5, 6])])
    assert_same(update(model, rule, [make_batch([0, 1, 3, 5, 6], packed=True)]), expected)


def test_what_comes_later_and_padding_change_nothing() -> None:
    model = make().eval()
    long, short = (make_batch(which)["net_input"]["src_tokens"] for which in ([1, 3], [3]))
    together, alone = model(long)[0], model(short)[0]
    torch.testing.assert_close(together[1, : short.size(1)], alone[0], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(model(long[:, :4])[0], together[:, :4], rtol=1e-9, atol=1e-10)


def test_prompt_cache_gives_the_models_own_logits() -> None:
    model = make().eval()
    assert PromptCache.supports(model) is None
    batch = make_batch([0, 1, 3])
    tokens, lengths = batch["net_input"]["src_tokens"], batch["prompt_lengths"]
    longest, rows = int(lengths.max()), torch.arange(len(lengths))
    prompts = tokens[:, :longest].masked_fill(torch.arange(longest) >= lengths[:, None], VOCAB.pad)
    expected = model(tokens)[0]
    for every_position in (False, True):
        cache = PromptCache(model, prompts, lengths, beams=1, every_position=every_position)
        torch.testing.assert_close(cache.first_logits, expected[rows, lengths - 1], rtol=1e-9, atol=1e-10)
        if cache.prompt_logits is not None:
            for row, length in enumerate(lengths.tolist()):
                torch.testing.assert_close(
                    cache.prompt_logits[row, :length], expected[row, :length], rtol=1e-9, atol=1e-10
                )
        step = cache.step(tokens[rows, lengths][:, None], torch.zeros(len(rows), 1, dtype=torch.long))
        torch.testing.assert_close(step[:, 0], expected[rows, lengths], rtol=1e-9, atol=1e-10)


def test_decoding_equals_plain_forwards() -> None:
    model = make().eval()
    batch = make_batch([0, 1, 3, 6])
    emitted = [VOCAB.eos, *VOCAB.text_ids]
    found = build([model], VOCAB, beam=3, max_len_b=5).generate([model], batch)
    for row, length, hypotheses in zip(rows_of(batch), batch["prompt_lengths"].tolist(), found):
        scorer = reference.model_scorer([model], row[:length], emitted, 1.0)
        assert_same_hypotheses(hypotheses, reference.beam_search(scorer, VOCAB.eos, 3, 5))


def test_what_cannot_have_it_is_refused(mini: Any) -> None:
    model = make().eval()
    with pytest.raises(InputError, match="--stable-mask: no incremental decoding"):
        model.decoder(make_batch([0])["net_input"]["src_tokens"], incremental_state={})
    for options, problem in ((SLOW["quantisation"], "quantisation noise"), (SLOW["adaptive-input"], "adaptive input")):
        with pytest.raises(InputError, match=f"--stable-mask: not with .*{problem}"):
            make(**options)
    for decay in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="--stable-mask-decay"):
            StableMask(decay)
    with pytest.raises(gpt2.UnsupportedGPT2, match="--stable-mask"):
        gpt2._check_exportable(model)
    config, task = setup(mini, "--stable-mask", "--prefix-lm")
    with pytest.raises(ConflictError, match="leave --stable-mask or --prefix-lm out"):
        task.build_model(config.model)


def test_checkpoints_say_that_they_need_it() -> None:
    with_it, without = make(), make_model()
    assert set(with_it.state_dict()) - set(without.state_dict()) == {"decoder.stable_mask._extra_state"}
    with_it.load_state_dict(make().state_dict())
    with pytest.raises(RuntimeError, match="stable_mask"):
        without.load_state_dict(with_it.state_dict())
    with pytest.raises(RuntimeError, match="stable_mask"):
        with_it.load_state_dict(without.state_dict())
    with pytest.raises(InputError, match=r"trained with 0\.3; use --stable-mask-decay 0\.3"):
        make_model(stable_mask=True, stable_mask_decay=0.2).load_state_dict(with_it.state_dict())


def test_train_and_generate(mini: Any, tmp_path: Any) -> None:
    """The options are in the checkpoint: decoding needs no flag."""
    lines = train(mini, tmp_path, "--stable-mask", "--stable-mask-decay", "0.1", "--eval-wer", updates=2)
    assert any('"valid_wer"' in line for line in lines)
    checkpoint = tmp_path / "checkpoint_last.pt"
    done = fairseq_command("generate", mini, "--path", checkpoint, "--gen-subset", "test", "--max-len-b", "9")
    assert done.stdout.count("\nH-") == 11
