"""benchmarks/decode.py at a small size: it runs, and ours finds what the uncached decoder finds."""

import importlib

import pytest
from support.miniature import ROOT
from transformers.utils import is_torch_available

from sld_user_dir.models.joint_lm import tiny


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module("decode")
    for name, size in {"VOCABULARY": 700, "PROMPT": 12, "BATCH": 2, "TRANSCRIPT": 4, "POSITIONS": 64}.items():
        monkeypatch.setattr(module, name, size)
    monkeypatch.setattr(module, "small", tiny)
    return module


@pytest.mark.skipif(not is_torch_available(), reason="this transformers takes no torch as old as the one here")
def test_same_hypotheses_and_a_row_of_every_rival(benchmark):
    vocab = benchmark.make_vocab()
    model = benchmark.make_fairseq_model(vocab)
    assert (len(vocab), vocab.num_units) == (700, benchmark.UNITS)
    assert benchmark.same_hypotheses(model, vocab)
    once = {"ours": 1, "huggingface": 1, "fairseq": 1}
    case = {**benchmark.compare(model, vocab, 2, once), "same_hypotheses": True}
    assert set(case["cpu_seconds"]) == set(once) and all(seconds > 0 for seconds in case["cpu_seconds"].values())
    assert "| beam 2, batch of 2 |" in benchmark.table([case])


def test_hypotheses_that_differ_are_noticed(benchmark, monkeypatch):
    vocab = benchmark.make_vocab()
    model = benchmark.make_fairseq_model(vocab)
    search = benchmark.reference.beam_search
    monkeypatch.setattr(benchmark.reference, "beam_search", lambda *args, **kwargs: search(*args, **kwargs)[1:])
    assert not benchmark.same_hypotheses(model, vocab)
