"""fairseq's decoders behind the interface of search: cached and recomputed, ensembles, language models, precision."""

import logging

import pytest
import torch
from fairseq.data import Dictionary
from support import reference_decoding as reference
from support.decoding import EMITTED, RAGGED, VOCAB, assert_same, build, check_batch, make_model, make_sample

from sld_user_dir.models import prompt_cache
from sld_user_dir.search.fixed_linear import FixedLinear

VARIANTS = {
    "sinusoidal": {},
    "learned": {"decoder_learned_pos": True},
    "no positions": {"no_token_positional_embeddings": True},
    "post-norm": {"decoder_normalize_before": False},
    "no final norm": {"no_decoder_final_norm": True},
    "layernorm_embedding": {"layernorm_embedding": True},
    "projections": {"decoder_input_dim": 8, "decoder_output_dim": 12},
    "tied": {"share_decoder_input_output_embed": True, "no_scale_embedding": True},
    "gelu": {"activation_fn": "gelu_accurate"},
    "checkpointed": {"checkpoint_activations": True},
}
SLOW_VARIANTS = {
    "adaptive": {"adaptive_softmax_cutoff": "6,10", "adaptive_softmax_factor": 2},
    "NormFormer": {"scale_heads": True, "scale_resids": True, "scale_fc": True, "scale_attn": True},
    "quantised": {"quant_noise_pq": 0.1, "quant_noise_pq_block_size": 4},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_stock_models_take_the_fast_path(variant: str) -> None:
    model = make_model(**VARIANTS[variant])
    assert prompt_cache.PromptCache.supports(model) is None
    check_batch(model)


@pytest.mark.parametrize("variant", SLOW_VARIANTS)
def test_other_models_are_right_and_say_that_they_are_slow(variant: str, caplog: pytest.LogCaptureFixture) -> None:
    model = make_model(**SLOW_VARIANTS[variant])
    with caplog.at_level(logging.WARNING):
        build([model])
    assert "slow decoding" in caplog.text
    # an adaptive softmax has no logits to give: ask for probabilities
    full = lambda row: (model.get_normalized_probs(model(row), True, None),)  # noqa: E731
    for prompt, found in zip(RAGGED, build([model], max_len_b=4).generate([model], make_sample(RAGGED))):
        assert_same(found, reference.beam_search(reference.model_scorer([full], prompt, EMITTED), VOCAB.eos, 3, 4))


def test_ensemble_averages_probabilities() -> None:
    models = [make_model(1), make_model(2, decoder_learned_pos=True, decoder_layers=1)]
    for prompt, found in zip(RAGGED, build(models).generate(models, make_sample(RAGGED))):
        scorer = reference.model_scorer(models, prompt, EMITTED)
        assert_same(found, reference.beam_search(scorer, VOCAB.eos, 3, 6))


@pytest.mark.parametrize("add_bos", [False, True])
def test_shallow_fusion_maps_symbols(add_bos: bool) -> None:
    dictionary = Dictionary()
    for symbol in "xedcba":  # other ids than the joint vocabulary's
        dictionary.add_symbol(symbol)
    model, lm = make_model(1), make_model(2, dictionary, add_bos_token=add_bos)
    ids = {i: dictionary.index(VOCAB.dictionary[i]) for i in EMITTED}
    start = dictionary.bos() if add_bos else dictionary.eos()
    results = build([model], lm_model=lm, lm_weight=0.7).generate([model], make_sample(RAGGED))
    for prompt, found in zip(RAGGED, results):
        scorer = reference.fused(reference.model_scorer([model], prompt, EMITTED), lm, ids, start, 0.7)
        assert_same(found, reference.beam_search(scorer, VOCAB.eos, 3, 6))


def test_language_model_of_other_symbols_is_refused() -> None:
    dictionary = Dictionary()
    dictionary.add_symbol("z")
    with pytest.raises(ValueError, match="knows none of the text symbols"):
        build([make_model()], lm_model=make_model(0, dictionary))


def test_float32_gives_the_hypotheses_of_float64() -> None:
    """The weights are packed for a CPU in float32 only: and anew for each batch, as training changes them."""
    model = make_model(5)
    models = [make_model(6).float()]
    single = build(models)
    single.generate(models, make_sample(RAGGED))
    models[0].load_state_dict(model.float().state_dict())
    exact = build([model.double()]).generate([model], make_sample(RAGGED))
    for found, expected in zip(single.generate(models, make_sample(RAGGED)), exact):
        assert [h["tokens"].tolist() for h in found] == [h["tokens"].tolist() for h in expected]
        assert [h["score"].item() for h in found] == pytest.approx([h["score"].item() for h in expected], abs=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_fixed_linear_is_linear(rows: int, bias: bool) -> None:
    weight, x = torch.randn(33, 20), torch.randn(2, rows, 20)
    offset = torch.randn(33) if bias else None
    for dtype in (torch.float32, torch.float64):
        product = FixedLinear(weight.to(dtype), None if offset is None else offset.to(dtype), rows=5)
        expected = torch.nn.functional.linear(x.to(dtype), product.weight, product.bias)
        torch.testing.assert_close(product(x.to(dtype)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 0.2), (torch.float16, 0.05)])
def test_low_precision_stays_near_float64(dtype: torch.dtype, tolerance: float) -> None:
    model = make_model()
    exact = build([model], beam=1).generate([model], make_sample(RAGGED))
    lower = model.to(dtype)
    for found, other in zip(build([lower], beam=1).generate([lower], make_sample(RAGGED)), exact):
        first, exact_first = (h[0]["positional_scores"][0].item() for h in (found, other))
        assert found[0]["score"].dtype == torch.float32
        assert first == pytest.approx(exact_first, abs=tolerance)
