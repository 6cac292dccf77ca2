"""Keys and values that are kept change no hypothesis; models whose layers are not as expected are run again whole."""

import numpy as np
import pytest
import torch
from conftest import collated, pair_of

from sld_user_dir.fairseq2.recipe_config import SearchSection
from sld_user_dir.fairseq2.recipe_parts import generator_of
from sld_user_dir.fairseq2.transformer_cache import TransformerCache
from sld_user_dir.fairseq2.transformer_decoder import TransformerDecoder
from sld_user_dir.search.recomputed_session import RecomputedSession


def hypotheses(model, vocab, sample, beam):
    found = generator_of(model, vocab, SearchSection(beam=beam, max_len_b=12)).generate(None, sample)
    return [[(h["tokens"].tolist(), float(h["score"])) for h in nbest] for nbest in found]


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("learned", [False, True], ids=["sinusoidal", "learned"])
def test_hypotheses_are_those_of_the_sequences_run_again(task, data, learned, beam, monkeypatch):
    _, model = pair_of(task, learned)
    sample = collated(data, range(7), "valid")
    assert len(set(sample["prompt_lengths"].tolist())) > 1
    kept = hypotheses(model.eval(), task.vocab, sample, beam)
    monkeypatch.setattr(TransformerCache, "supports", staticmethod(lambda model: False))
    again = hypotheses(model, task.vocab, sample, beam)
    assert [[tokens for tokens, _ in nbest] for nbest in kept] == [[tokens for tokens, _ in nbest] for nbest in again]
    for one, other in zip(kept, again):
        np.testing.assert_allclose([score for _, score in one], [score for _, score in other], atol=1e-5)


def test_logits_of_every_position(task, data):
    _, model = pair_of(task, learned=True)
    prompts, lengths = torch.tensor([[5, 6, 7, 8], [9, 5, task.vocab.pad, task.vocab.pad]]), torch.tensor([4, 2])
    decoder = TransformerDecoder(model.eval(), task.vocab)
    with torch.no_grad():
        session = decoder.start(prompts, lengths, 2, outputs=7, every_position=True)
        alone = decoder.start(prompts[1:, :2], lengths[1:], 2, outputs=7, every_position=True)
    assert session.prompt_logits.shape == (2, 4, 7)
    torch.testing.assert_close(session.prompt_logits[1, :2], alone.prompt_logits[0])
    torch.testing.assert_close(session.first_logits[1], alone.first_logits[0])


def test_other_models_are_run_again_whole(task):
    _, model = pair_of(task, learned=True)
    model.final_proj.bias = torch.nn.Parameter(torch.zeros(len(task.vocab)))
    prompts = torch.tensor([[5, 6]])
    session = TransformerDecoder(model.float().eval(), task.vocab).start(prompts, torch.tensor([2]), 1)
    assert isinstance(session, RecomputedSession)
