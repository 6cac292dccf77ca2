"""joint_lm against fairseq's transformer_lm, whose numbers and checkpoints it shares."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models.transformer_lm import TransformerLanguageModel
from support.joint_lm import SLOW, joint_lm_args
from torch.nn import functional as F

from sld_user_dir.models import dropped_attention, joint_lm
from sld_user_dir.models.dropout import dropout
from sld_user_dir.models.prompt_cache import PromptCache
from sld_user_dir.models.unset_buffers import UNSET

PAD, SYMBOLS = 1, 30
OPTIONS = {
    "default": {},
    "sinusoidal": {"decoder_learned_pos": False},
    "no-positions": {"no_token_positional_embeddings": True},
    "post-norm": {"decoder_normalize_before": False},
    "scaled": {"no_scale_embedding": False, "layernorm_embedding": True},
    "untied": {"share_decoder_input_output_embed": False, "activation_fn": "relu"},
    "projected": {"decoder_input_dim": 8, "decoder_output_dim": 8},
    "layers-to-keep": {"decoder_layers_to_keep": "0,1"},
}


def make_task() -> SimpleNamespace:
    dictionary = Dictionary()
    for i in range(SYMBOLS):
        dictionary.add_symbol(f"s{i}")
    return SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)


def make_models(dropout: float = 0.0, **overrides) -> tuple:
    """Stock and own model of one configuration in float64, with the same weights."""
    args = joint_lm_args(dropout=dropout, attention_dropout=dropout, **overrides)
    if "decoder_normalize_before" in overrides:
        args.decoder_normalize_before = overrides["decoder_normalize_before"]
    torch.manual_seed(0)
    stock = TransformerLanguageModel.build_model(Namespace(**vars(args)), make_task()).double()
    own = joint_lm.JointLanguageModel.build_model(Namespace(**vars(args)), make_task()).double()
    with torch.no_grad():
        for parameter in stock.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    own.load_state_dict(stock.state_dict(), strict=True)
    return stock, own


def make_batch() -> torch.Tensor:
    torch.manual_seed(1)
    tokens = torch.randint(4, 4 + SYMBOLS, (3, 9))
    tokens[1, 5:] = tokens[2, 8:] = PAD
    return tokens


def gradients(model, tokens: torch.Tensor) -> dict:
    """Of a loss that, like ours, doesn't read positions of padding."""
    model.zero_grad()
    logits = model(tokens)[0]
    real = tokens[:, 1:] != PAD
    F.cross_entropy(logits[:, :-1][real], tokens[:, 1:][real]).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", [*OPTIONS, *SLOW])
def test_values_and_gradients_are_those_of_transformer_lm(name):
    stock, own = make_models(**{**OPTIONS, **SLOW}[name])
    tokens = make_batch()
    stock.eval(), own.eval()
    real = tokens != PAD
    assert torch.allclose(own(tokens)[0][real], stock(tokens)[0][real], atol=1e-11)
    states = own(tokens)[1]["inner_states"], stock(tokens)[1]["inner_states"]
    for mine, theirs in zip(*states):
        assert torch.allclose(mine.transpose(0, 1)[real], theirs.transpose(0, 1)[real], atol=1e-11)
    mine, theirs = gradients(own, tokens), gradients(stock, tokens)
    assert mine.keys() == theirs.keys()
    for key, gradient in theirs.items():
        assert torch.allclose(mine[key], gradient, atol=1e-11), key


@pytest.mark.parametrize("name", OPTIONS)
def test_fast_path_builds_no_mask(name):
    _, own = make_models(**OPTIONS[name])
    own(make_batch())
    assert own.decoder._future_mask.numel() == 0


@pytest.mark.parametrize("name", SLOW)
def test_what_the_fast_path_lacks_takes_fairseqs_own(name):
    _, own = make_models(**SLOW[name])
    own(make_batch())
    assert own.decoder._future_mask.numel() > 0


def test_checkpoints_load_both_ways():
    stock, own = make_models()
    stored = stock.state_dict()  # in fairseq 0.12.2 with a number of the positions that it never sets
    assert [name for name in stored if not name.endswith(UNSET)] == list(own.state_dict())
    stock.load_state_dict(own.state_dict(), strict=True)
    own.load_state_dict(stored, strict=True)


@pytest.mark.parametrize("layout", ["left", "inside"])
def test_other_padding_takes_fairseqs_own_path(layout):
    stock, own = make_models()
    tokens = make_batch()
    tokens[tokens == PAD] = 5
    tokens[1, : {"left": 1, "inside": 4}[layout]] = PAD
    if layout == "inside":
        tokens[1, :2] = 6
    stock.eval(), own.eval()
    # torch 2.4 adds up otherwise, and makes NaN of a row that begins with padding, which sees nothing
    torch.testing.assert_close(own(tokens)[0], stock(tokens)[0], atol=1e-12, rtol=0, equal_nan=True)
    assert own.decoder._future_mask.numel() > 0


def test_incremental_decoding_is_fairseqs():
    stock, own = make_models()
    stock.eval(), own.eval()
    tokens, states = make_batch()[:1], ({}, {})
    for length in (1, 2, 3):
        pairs = zip((stock, own), states)
        theirs, mine = (m.decoder(tokens[:, :length], incremental_state=s)[0] for m, s in pairs)
        assert torch.equal(mine, theirs)
    assert torch.allclose(mine[0, -1], own(tokens)[0][0, 2])


def test_sinusoidal_positions_by_flag():
    args = joint_lm_args(sinusoidal_positions=True)
    own = joint_lm.JointLanguageModel.build_model(args, make_task())
    assert args.decoder_learned_pos is False
    assert not any("embed_positions" in name for name in own.state_dict())
    stored = {**own.state_dict(), f"decoder.embed_positions.{UNSET}": torch.ones(1)}  # as fairseq 0.12.2 has it
    own.load_state_dict(stored)


def test_layer_drop():
    stock, own = make_models(decoder_layerdrop=0.5)
    for seed in range(4):
        results = []
        for model in (stock, own):
            torch.manual_seed(seed)
            results.append(model(make_batch()[:1])[0])
        assert torch.allclose(*results)


def test_activation_checkpoints_give_the_same_gradients():
    _, plain = make_models(dropout=0.3)
    _, saving = make_models(dropout=0.3, checkpoint_activations=True)
    results = []
    for model in (plain, saving):
        torch.manual_seed(3)
        results.append(gradients(model, make_batch()))
    for key, gradient in results[0].items():
        assert torch.allclose(gradient, results[1][key]), key


@pytest.mark.parametrize("activation", ["gelu_accurate", "gelu", "relu"])
def test_prompt_cache_serves_the_model(activation):
    _, own = make_models(activation_fn=activation)
    assert PromptCache.supports(own) is None
    own.eval()
    tokens = make_batch()
    lengths = (tokens != PAD).sum(1)
    cache = PromptCache(own, tokens, lengths, beams=1)
    assert torch.allclose(cache.first_logits, own(tokens)[0][torch.arange(3), lengths - 1])


@pytest.mark.parametrize("length", [1, 7, 8, 19])
def test_dropped_attention_without_dropout_is_attention(length, monkeypatch):
    monkeypatch.setattr(dropped_attention, "BLOCK_QUERIES", 8)
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, length, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    slope = torch.randn(2, 3, length, 4, dtype=torch.float64)
    results = []
    for attend in (
        lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda: dropped_attention.dropped_causal_attention(q, k, v, p=1e-9),  # rounded to 0
    ):
        y = attend()
        results.append((y, *torch.autograd.grad(y, (q, k, v), slope)))
    for expected, actual in zip(*results):
        assert torch.allclose(actual, expected)


def test_dropped_attention_has_the_gradient_of_what_it_computes(monkeypatch):
    monkeypatch.setattr(dropped_attention, "BLOCK_QUERIES", 3)

    def attend(*qkv):
        torch.manual_seed(0)
        return dropped_attention.dropped_causal_attention(*qkv, p=0.4)

    qkv = [torch.randn(1, 2, 7, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(attend, qkv)


def test_training_under_autocast():
    _, own = make_models(dropout=0.2)
    own = own.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = own(make_batch())[0].float().square().mean()
    loss.backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in own.parameters())
    assert own.decoder.layers[0].self_attn.q_proj.weight.grad.abs().sum() > 0


def test_dropped_attention_keeps_the_mean(monkeypatch):
    monkeypatch.setattr(dropped_attention, "BLOCK_QUERIES", 4)
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 7, 4, dtype=torch.float64)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    draws = torch.stack([dropped_attention.dropped_causal_attention(q, k, v, p=0.4) for _ in range(3000)])
    assert torch.allclose(draws.mean(0), expected, atol=0.15)
    assert draws.std(0).mean() > 0.1


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_dropout_drops_its_share_and_keeps_the_mean(p):
    torch.manual_seed(0)
    x = torch.full((333, 301), 2.0, dtype=torch.float64, requires_grad=True)
    y = dropout(x, p, training=True)
    kept = y != 0
    assert float(kept.double().mean()) == pytest.approx(1 - p, abs=0.005)
    assert torch.allclose(y[kept], torch.tensor(2 / (1 - p) if p < 1 else 0.0, dtype=torch.float64), rtol=1e-4)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach() / 2)


def test_dropout_follows_torchs_seed_and_rests_in_evaluation():
    x = torch.ones(1000)
    torch.manual_seed(5)
    first, second = dropout(x, 0.5, True), dropout(x, 0.5, True)
    torch.manual_seed(5)
    assert torch.equal(first, dropout(x, 0.5, True))
    assert not torch.equal(first, second)
    assert dropout(x, 0.5, False) is x


def test_training_drops_in_every_place():
    """Embeddings, attention, and both halves of a layer: each alone changes the output."""
    _, own = make_models()
    tokens = make_batch()
    clean = own(tokens)[0]
    layer = own.decoder.layers[0]
    places = (own.decoder, layer.self_attn, layer)
    for module in (place.dropout_module for place in places):
        module.p = 0.5
        assert not torch.allclose(own(tokens)[0], clean)
        module.p = 0.0
    layer.activation_dropout_module.p = 0.5
    assert not torch.allclose(own(tokens)[0], clean)
    own.eval()
    assert torch.allclose(own(tokens)[0], clean)
