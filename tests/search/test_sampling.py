"""Drawn hypotheses against the distribution of the model."""

from typing import Any, Dict

import pytest
import torch
from support import reference_decoding as reference
from support.decoding import EMITTED, RAGGED, VOCAB, build, make_model, make_sample, prompt_of


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
