"""A tiny vocabulary and stock language model with peaked predictions, and the generator over them."""

from __future__ import annotations

from argparse import Namespace
from types import SimpleNamespace
from typing import Any, Dict, List, Sequence

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models.transformer_lm import TransformerLanguageModel, base_lm_architecture

from sld_user_dir.models.generation import build_generator
from sld_user_dir.search.generator import PromptGenerator
from sld_user_dir.vocabulary.symbols import SymbolTable
from support import reference_decoding as reference

NUM_UNITS = 7
TEXT = "abcde"


def make_vocab(text: str = TEXT) -> SimpleNamespace:
    """Stands in for a `JointVocabulary`, with a fairseq Dictionary of the same symbols."""
    dictionary, table = Dictionary(), SymbolTable()
    for symbol in [*text, "<mask>", "<sep>", *(f"<u{i}>" for i in range(NUM_UNITS))]:
        dictionary.add_symbol(symbol)
        table.add(symbol)
    text_end = 4 + len(text)
    return SimpleNamespace(
        dictionary=dictionary,
        table=table,
        tasks={},
        text_start=4,
        pad=1,
        eos=2,
        bos=0,
        unk=3,
        text_end=text_end,
        separator=text_end + 1,
        unit_offset=text_end + 2,
        num_units=NUM_UNITS,
        text_ids=range(4, text_end),
    )


VOCAB = make_vocab()
EMITTED = [VOCAB.eos, *VOCAB.text_ids]


def make_model(seed: int = 0, dictionary: Dictionary = VOCAB.dictionary, **overrides: Any) -> TransformerLanguageModel:
    """A tiny stock transformer_lm in float64, with weights large enough for peaked predictions."""
    torch.manual_seed(seed)
    sizes = {"decoder_embed_dim": 16, "decoder_ffn_embed_dim": 24, "decoder_layers": 2, "decoder_attention_heads": 2}
    args = Namespace(**{**sizes, "tokens_per_sample": 64, "max_target_positions": 64, **overrides})
    args.decoder_input_dim = getattr(args, "decoder_input_dim", args.decoder_embed_dim)
    args.decoder_output_dim = getattr(args, "decoder_output_dim", args.decoder_embed_dim)
    normalize_before = getattr(args, "decoder_normalize_before", True)
    base_lm_architecture(args)
    args.decoder_normalize_before = normalize_before  # which base_lm_architecture sets to True
    task = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    model = TransformerLanguageModel.build_model(args, task).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        model.decoder.embed_tokens.weight[VOCAB.pad] = 0.0
    return model


def make_sample(prompts: Sequence[Sequence[int]], text: Sequence[int] = ()) -> Dict[str, Any]:
    """A right-padded batch of prompts, with `text` behind each as in a training batch."""
    rows = [torch.tensor([*prompt, *text]) for prompt in prompts]
    source = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=VOCAB.pad)
    return {
        "id": torch.arange(len(rows)),
        "net_input": {"src_tokens": source, "src_lengths": torch.tensor([len(row) for row in rows])},
        "prompt_lengths": torch.tensor([len(prompt) for prompt in prompts]),
    }


def prompt_of(*units: int) -> List[int]:
    return [VOCAB.unit_offset + unit for unit in units] + [VOCAB.separator]


RAGGED = [prompt_of(0, 3, 5, 1), prompt_of(), prompt_of(6, 6, 2, 4, 4, 1, 0, 2), prompt_of(2)]


def build(
    models: Sequence[Any], vocab: Any = VOCAB, lm_model: Any = None, lm_weight: float = 1.0, **cfg: Any
) -> PromptGenerator:
    defaults = {"beam": 3, "max_len_a": 0, "max_len_b": 6, "min_len": 0, "lenpen": 1.0}
    return build_generator(models, vocab, Namespace(**{**defaults, **cfg}), lm_model, lm_weight)


def assert_same(hypotheses: List[Dict[str, Any]], expected: List[reference.Hypothesis]) -> None:
    """Tokens equal, scores to float32, in which hypotheses are returned."""
    assert [tuple(h["tokens"].tolist()) for h in hypotheses] == [h.tokens for h in expected]
    for hypothesis, other in zip(hypotheses, expected):
        assert hypothesis["score"].item() == pytest.approx(other.score, rel=1e-5, abs=1e-5)
        assert hypothesis["positional_scores"].tolist() == pytest.approx(other.log_probs, rel=1e-5, abs=1e-5)


def check_batch(
    model: Any, prompts: Sequence[Sequence[int]] = RAGGED, beam: int = 3, limit: int = 6, **options: Any
) -> None:
    """A ragged batch against the uncached decoder, utterance by utterance; options of `reference.beam_search`."""
    temperature = options.pop("temperature", 1.0)
    cfg = {"no_repeat_ngram_size" if name == "no_repeat" else name: value for name, value in options.items()}
    generator = build([model], beam=beam, max_len_b=limit, temperature=temperature, **cfg)
    for prompt, found in zip(prompts, generator.generate([model], make_sample(prompts))):
        scorer = reference.model_scorer([model], prompt, EMITTED, temperature)
        assert_same(found, reference.beam_search(scorer, VOCAB.eos, beam, limit, **options))
