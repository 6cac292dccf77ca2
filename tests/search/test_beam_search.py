"""The generator against slow oracles: uncached step-by-step decoding and exhaustive search."""

from typing import Any, Dict, List

import pytest
import torch
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
    check_batch,
    make_model,
    make_sample,
    make_vocab,
    prompt_of,
)

from sld_user_dir.errors import InputError
from sld_user_dir.search.generator import PromptError


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
    check_batch(make_model(seed), prompts, beam, limit, **options)


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
    with pytest.raises(InputError, match="--diverse-beam-groups: not supported by this generator"):
        build([model], diverse_beam_groups=2)
    with pytest.raises(ValueError, match="--beam 0"):
        build([model], beam=0)
    with pytest.raises(ValueError, match="add --sampling"):
        build([model], sampling_topk=3)


def test_the_length_may_come_of_the_prompt_alone() -> None:
    model = never_ending(make_model())
    found = build([model], max_len_a=0.8, max_len_b=0).generate([model], make_sample([prompt_of(1, 2, 3, 4)]))
    assert len(found[0][0]["tokens"]) - 1 == int(0.8 * len(prompt_of(1, 2, 3, 4)))


def test_nan_is_an_error() -> None:
    model = make_model()
    model.decoder.layer_norm.weight.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="NaN"):
        build([model]).generate([model], make_sample(RAGGED))
