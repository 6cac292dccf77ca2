"""Decoding pretrained backbones: the cache against whole sequences, and against transformers' `generate`."""

import math
from argparse import Namespace

import pytest
import torch
from support import reference_decoding as reference
from support.backbones import FAMILIES, generate, make_base, make_model, merged, vocabulary_of

from sld_user_dir.models.fairseq_decoder import FairseqDecoder, RecomputedPrompts
from sld_user_dir.models.generation import build_generator
from sld_user_dir.models.hf_prompt_cache import HFPromptCache

LENGTHS, BEAM = [11, 1, 7], 2


def prompts_of(vocab, lengths=LENGTHS):
    torch.manual_seed(2)
    rows = [torch.randint(vocab.unit_offset, len(vocab), (length,)) for length in lengths]
    for row in rows:
        row[-1] = vocab.separator
    source = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=vocab.pad)
    return {"net_input": {"src_tokens": source}, "prompt_lengths": torch.tensor(lengths)}


@pytest.mark.parametrize("family", FAMILIES)
def test_hypotheses_are_those_of_whole_sequences(tmp_path, family):
    """Ragged prompts in a batch, beams that change places, more steps than a sliding window is wide."""
    base = make_base(tmp_path, family)
    model, vocab = make_model(base).double(), vocabulary_of(base)
    sample = prompts_of(vocab)
    generator = build_generator([model], vocab, Namespace(beam=BEAM, max_len_b=6, min_len=3))
    assert generator.scorer.decoders[0]._session is HFPromptCache
    found = generator.generate([model], sample)
    for row, length in enumerate(LENGTHS):
        prompt = sample["net_input"]["src_tokens"][row, :length].tolist()
        scorer = reference.model_scorer([model], prompt, [vocab.eos, *vocab.text_ids])
        expected = reference.beam_search(scorer, vocab.eos, BEAM, 6, min_len=3)
        assert [h["tokens"].tolist() for h in found[row]] == [list(h.tokens) for h in expected]
        for ours, other in zip(found[row], expected):
            assert ours["score"].item() == pytest.approx(other.score, abs=1e-6)


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_a_session_is_the_slow_one(tmp_path, family, monkeypatch):
    """Step by step, past the first room of the cache, with utterances that end; prompts are read two at a time."""
    monkeypatch.setattr("sld_user_dir.models.hf_prompt_cache.TOKENS_AT_ONCE", 2 * max(LENGTHS))
    base = make_base(tmp_path, family)
    model, vocab = make_model(base).double(), vocabulary_of(base)
    sample, lengths = prompts_of(vocab), torch.tensor(LENGTHS)
    arguments = (model, sample["net_input"]["src_tokens"], lengths, 2, None, True)
    with torch.no_grad():
        sessions = [HFPromptCache(*arguments), RecomputedPrompts(*arguments)]
        read = torch.arange(max(LENGTHS)) < lengths[:, None]
        assert_near(*(s.prompt_logits[read] for s in sessions))
        assert_near(*(s.first_logits for s in sessions))
        for step in range(40):
            if step == 5:
                for session in sessions:
                    session.keep(torch.tensor([0, 2]))
            shape = (len(sessions[0].lengths), 2)
            tokens, parents = torch.randint(vocab.text_start, vocab.text_end, shape), torch.randint(2, shape)
            assert_near(*(s.step(tokens, parents) for s in sessions))


def assert_near(ours, theirs):
    """As probabilities; fairseq's are float32."""
    torch.testing.assert_close(ours.log_softmax(-1).float(), theirs.float())


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "qwen3"])
def test_hypotheses_are_those_of_generate(tmp_path, family):
    """transformers' own beam search over a model that holds all symbols, told to emit text alone."""
    base = make_base(tmp_path, family)
    model, vocab = make_model(base), vocabulary_of(base)
    sample = prompts_of(vocab, [9, 9, 9])
    cfg = Namespace(beam=BEAM, max_len_b=6, min_len=2)
    found = build_generator([model], vocab, cfg).generate([model], sample)
    expected = generate(merged(base, model), vocab, sample["net_input"]["src_tokens"], BEAM, limit=6, min_len=2)
    assert [[h["tokens"].tolist() for h in row] for row in found] == expected


def test_unknown_attention_is_decoded_slowly(tmp_path, monkeypatch, caplog):
    base = make_base(tmp_path)
    model, vocab = make_model(base), vocabulary_of(base)
    layer = model.decoder.backbone.layers[1].self_attn
    original = layer.forward
    monkeypatch.setattr(layer, "forward", lambda **kwargs: original(**kwargs, s_aux=1.0), raising=False)
    decoder = FairseqDecoder(model)
    assert decoder._session is RecomputedPrompts
    assert "LlamaAttention attends with s_aux" in caplog.text
    with torch.no_grad():
        logits = decoder.start(torch.tensor([[vocab.separator]]), torch.tensor([1]), 1).first_logits
    assert math.isfinite(float(logits[0, vocab.text_start]))
