"""The generator against slow oracles: uncached step-by-step decoding and exhaustive search."""

import logging
from typing import Any, Dict, List, Sequence

import pytest
import torch
from fairseq.data import Dictionary
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference_decoding as reference
from support.decoding import (
    EMITTED,
    NUM_UNITS,
    RAGGED,
    VOCAB,
    assert_same,
    build,
    make_model,
    make_sample,
    make_vocab,
    prompt_of,
)

from sld_user_dir.models import prompt_cache
from sld_user_dir.models.fixed_linear import FixedLinear
from sld_user_dir.search.generator import PromptError


def check(model: Any, prompts: Sequence[Sequence[int]] = RAGGED, beam: int = 3, limit: int = 6, **options: Any) -> None:
    """A ragged batch against the uncached decoder, utterance by utterance."""
    names = {"no_repeat": "no_repeat_ngram_size"}
    cfg = {names.get(name, name): value for name, value in options.items() if name != "temperature"}
    generator = build([model], beam=beam, max_len_b=limit, temperature=options.get("temperature", 1.0), **cfg)
    rest = {name: value for name, value in options.items() if name != "temperature"}
    for prompt, found in zip(prompts, generator.generate([model], make_sample(prompts))):
        scorer = reference.model_scorer([model], prompt, EMITTED, options.get("temperature", 1.0))
        assert_same(found, reference.beam_search(scorer, VOCAB.eos, beam, limit, **rest))


# ---- the search


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    beam=st.sampled_from([1, 2, 3, 5, 20]),
    limit=st.integers(0, 6),
    min_len=st.integers(0, 3),
    lenpen=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
    no_repeat=st.sampled_from([0, 0, 1, 2, 3]),
    temperature=st.sampled_from([1.0, 0.5, 3.0]),
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4),
)
def test_ragged_batch_equals_the_uncached_decoder(
    seed: int,
    beam: int,
    limit: int,
    min_len: int,
    lenpen: float,
    no_repeat: int,
    temperature: float,
    lengths: List[int],
) -> None:
    prompts = [prompt_of(*[(seed + i * i) % NUM_UNITS for i in range(n)]) for n in lengths]
    options = {"min_len": min_len, "lenpen": lenpen, "no_repeat": no_repeat, "temperature": temperature}
    check(make_model(seed), prompts, beam, limit, **options)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), limit=st.integers(0, 3), lenpen=st.sampled_from([0.0, 1.0]))
def test_a_wide_beam_is_an_exhaustive_search(seed: int, limit: int, lenpen: float) -> None:
    vocab = make_vocab("abc")
    model = make_model(seed, vocab.dictionary)
    prompt = [vocab.unit_offset + seed % NUM_UNITS, vocab.separator]
    scorer = reference.model_scorer([model], prompt, [vocab.eos, *vocab.text_ids])
    everything = reference.exhaustive(scorer, vocab.eos, limit, lenpen)
    generator = build([model], vocab, beam=len(everything), max_len_b=limit, lenpen=lenpen)
    assert_same(generator.generate([model], make_sample([prompt]))[0], everything)


def test_unnormalized_scores_are_sums() -> None:
    model = make_model()
    for found in build([model], unnormalized=True).generate([model], make_sample(RAGGED)):
        for hypothesis in found:
            assert hypothesis["score"].item() == pytest.approx(hypothesis["positional_scores"].sum().item(), abs=1e-5)


def test_forced_prefix() -> None:
    model = make_model()
    prefixes = [[5, 5], [4], [], [VOCAB.eos]]
    rows = torch.tensor([prefix + [VOCAB.pad] * (2 - len(prefix)) for prefix in prefixes])
    results = build([model]).generate([model], make_sample(RAGGED), prefix_tokens=rows)
    for prompt, prefix, found in zip(RAGGED, prefixes, results):
        scorer = reference.model_scorer([model], prompt, EMITTED)
        assert_same(found, reference.beam_search(scorer, VOCAB.eos, 3, 6, prefix=prefix))
    assert [h["tokens"].tolist() for h in results[3]] == [[VOCAB.eos]]


# ---- the models

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
    check(model)


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


# ---- batches and limits


def test_batch_of_one_equals_its_row_in_a_ragged_batch() -> None:
    model = make_model(5)
    generator = build([model], beam=4, max_len_a=0.5, max_len_b=3)
    together = generator.generate([model], make_sample(RAGGED))
    for prompt, found in zip(RAGGED, together):
        alone = generator.generate([model], make_sample([prompt]))[0]
        assert [h["tokens"].tolist() for h in alone] == [h["tokens"].tolist() for h in found]
        assert [h["score"].item() for h in alone] == pytest.approx([h["score"].item() for h in found], abs=1e-6)
        assert max(len(h["tokens"]) for h in found) - 1 <= int(0.5 * len(prompt) + 3)


def test_what_follows_the_prompt_is_ignored() -> None:
    model = make_model()
    prompts = make_sample(RAGGED)
    training = make_sample(RAGGED, text=[4, 5, 6, 7])
    interactive = {"net_input": {"src_tokens": prompts["net_input"]["src_tokens"]}}  # whole rows are prompts
    expected = [h[0]["tokens"].tolist() for h in build([model]).generate([model], prompts)]
    for sample in (training, interactive):
        assert [h[0]["tokens"].tolist() for h in build([model]).generate([model], sample)] == expected


def never_ending(model: Any) -> Any:
    projection = model.decoder.output_projection
    projection.bias = torch.nn.Parameter(torch.zeros(projection.out_features, dtype=torch.float64))
    projection.bias.data[VOCAB.eos] = -100.0
    return model


@pytest.mark.parametrize(
    "variant", [{}, {"decoder_learned_pos": True}, {"decoder_learned_pos": True, "scale_fc": True}]
)
@pytest.mark.parametrize("beam", [1, 3])
def test_a_transcript_that_never_ends_is_cut_where_positions_end(variant: Dict[str, bool], beam: int) -> None:
    model = never_ending(make_model(max_target_positions=12, **variant))
    full = prompt_of(*[1] * 11)  # as long as the model allows
    prompts = [full, prompt_of(1, 2), prompt_of()]
    generator = build([model], beam=beam, max_len_b=200)
    results = generator.generate([model], make_sample(prompts))
    assert [len(found[0]["tokens"]) - 1 for found in results] == [0, 9, 11]
    assert all(found[0]["truncated"] for found in results) and generator.truncated == 3
    for prompt, found in zip(prompts, results):
        scorer = reference.model_scorer([model], prompt, EMITTED)
        assert_same(found, reference.beam_search(scorer, VOCAB.eos, beam, 12 - len(prompt)))


def test_cache_grows_with_long_transcripts() -> None:
    model = never_ending(make_model(max_target_positions=200))
    found = build([model], beam=2, max_len_b=80).generate([model], make_sample([prompt_of(1), prompt_of(2, 3)]))
    for prompt, hypotheses in zip([prompt_of(1), prompt_of(2, 3)], found):
        scorer = reference.model_scorer([model], prompt, EMITTED)
        assert_same(hypotheses, reference.beam_search(scorer, VOCAB.eos, 2, 80))


@pytest.mark.parametrize(
    "prompts, message",
    [
        ([prompt_of(*[1] * 64)], "prompt of 65 tokens; the model takes 64"),
        ([[VOCAB.pad, *prompt_of(1)]], "padding inside a prompt"),
        ([[]], "empty row"),
    ],
)
def test_bad_prompts_are_errors(prompts: List[List[int]], message: str) -> None:
    model = make_model()
    with pytest.raises(PromptError, match=message):
        build([model]).generate([model], make_sample([prompt_of(1, 2), *prompts]))


def test_bad_prefixes_and_options_are_errors() -> None:
    model = make_model()
    with pytest.raises(PromptError, match="cannot be emitted"):
        build([model]).generate([model], make_sample([prompt_of(1)]), prefix_tokens=torch.tensor([[VOCAB.unit_offset]]))
    with pytest.raises(NotImplementedError, match="--diverse-beam-groups"):
        build([model], diverse_beam_groups=2)
    with pytest.raises(ValueError, match="--beam 0"):
        build([model], beam=0)
    with pytest.raises(ValueError, match="add --sampling"):
        build([model], sampling_topk=3)


def test_nan_is_an_error() -> None:
    model = make_model()
    model.decoder.layer_norm.weight.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="NaN"):
        build([model]).generate([model], make_sample(RAGGED))


# ---- sampling


@pytest.mark.parametrize("options", [{}, {"sampling_topk": 3}, {"sampling_topp": 0.8}])
def test_sampling_draws_from_the_model(options: Dict[str, Any]) -> None:
    """First tokens of 4,000 draws against the model's distribution, whole, cut to 3, cut to 80 %."""
    model = make_model(3)
    prompt = prompt_of(1, 2, 3)
    log_probs = reference.model_scorer([model], prompt, EMITTED)(())
    probs = torch.tensor([log_probs[i] for i in EMITTED]).exp()
    ordered = probs.sort(descending=True).values
    kept = options.get("sampling_topk", len(EMITTED))
    if "sampling_topp" in options:
        kept = int((ordered.cumsum(0) < 0.8).sum()) + 1
    expected = probs.masked_fill(probs < ordered[kept - 1], 0.0)
    torch.manual_seed(0)
    generator = build([model], beam=100, max_len_b=1, sampling=True, **options)
    results = generator.generate([model], make_sample([prompt] * 40))
    draws = torch.tensor([h["tokens"][0].item() for found in results for h in found])
    assert len(draws) == 4000
    counts = torch.bincount(draws, minlength=VOCAB.text_end)[EMITTED]
    assert (counts / 4000 - expected / expected.sum()).abs().max() < 0.03


def test_samples_score_as_the_model_says() -> None:
    model = make_model()
    torch.manual_seed(0)
    results = build([model], beam=5, sampling=True, max_len_b=10).generate([model], make_sample(RAGGED))
    for prompt, found in zip(RAGGED, results):
        scorer = reference.model_scorer([model], prompt, EMITTED)
        assert len(found) == 5
        for hypothesis in found:
            tokens = tuple(hypothesis["tokens"].tolist())
            expected = [scorer(tokens[:i])[token] for i, token in enumerate(tokens)]
            assert hypothesis["positional_scores"].tolist() == pytest.approx(expected, abs=1e-5)
