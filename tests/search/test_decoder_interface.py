"""Search over decoders of this file: `start, step, keep` is all that it asks, and no framework's model is needed."""

from typing import Any, List, Optional

import pytest
import torch
from support import reference_decoding as reference
from support.decoding import assert_same
from torch import Tensor

from sld_user_dir.search.beam import SearchOptions
from sld_user_dir.search.generator import PromptGenerator
from sld_user_dir.search.scorers import FusedLanguageModel, Scorer
from sld_user_dir.sequences.sequence_format import FORMATS, Emission
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.tokenizers import CharTokenizer

RECOGNITION = JointVocabulary.build(["abc"], 4, CharTokenizer())
MIXTURE = JointVocabulary.build(["abc"], 4, CharTokenizer(), tasks=["asr", "tts", "slm", "lm"])
WIDTH = 6


class RecurrentDecoder:
    """A random recurrent network: what it says depends on all tokens so far and on their order."""

    def __init__(self, symbols: int, seed: int):
        generator = torch.Generator().manual_seed(seed)
        self.embeddings = torch.randn(symbols, WIDTH, generator=generator, dtype=torch.float64)
        self.recurrence = torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64)
        self.output = 3 * torch.randn(WIDTH, symbols, generator=generator, dtype=torch.float64)
        self.max_positions = 20.0

    def feed(self, state: Tensor, tokens: Tensor) -> Tensor:
        """States (…, WIDTH) after tokens (…)."""
        return torch.tanh(state @ self.recurrence + self.embeddings[tokens])

    def start(
        self, prompts: Tensor, lengths: Tensor, beams: int, outputs: Optional[int] = None, every_position: bool = False
    ) -> "Session":
        return Session(self, prompts, lengths, beams, outputs, every_position)

    def __call__(self, rows: Tensor) -> Any:
        """(B, L) tokens to ((B, L, V) logits,): what the oracle calls."""
        state, logits = torch.zeros(len(rows), WIDTH, dtype=torch.float64), []
        for tokens in rows.unbind(1):
            state = self.feed(state, tokens)
            logits.append(state @ self.output)
        return (torch.stack(logits, dim=1),)


class Session:
    """A `DecoderSession` of `RecurrentDecoder`."""

    def __init__(
        self,
        decoder: RecurrentDecoder,
        prompts: Tensor,
        lengths: Tensor,
        beams: int,
        outputs: Optional[int],
        every_position: bool,
    ):
        self.decoder, self.outputs = decoder, outputs
        self.prompt_logits = decoder(prompts)[0][..., :outputs] if every_position else None
        state = torch.zeros(len(prompts), WIDTH, dtype=torch.float64)
        for at, tokens in enumerate(prompts.unbind(1)):
            state = torch.where((at < lengths)[:, None], decoder.feed(state, tokens), state)
        self.states = state.unsqueeze(1).repeat(1, beams, 1)  # (B, K, WIDTH)
        self.first_logits = state @ decoder.output[:, :outputs]

    def step(self, tokens: Tensor, parents: Tensor) -> Tensor:
        past = self.states.gather(1, parents.unsqueeze(-1).expand_as(self.states))
        self.states = self.decoder.feed(past, tokens)
        return self.states @ self.decoder.output[:, : self.outputs]

    def keep(self, rows: Tensor) -> None:
        self.states = self.states[rows]


def sample_of(prompts: List[List[int]]) -> dict:
    source = torch.nn.utils.rnn.pad_sequence([torch.tensor(p) for p in prompts], True, RECOGNITION.pad)
    return {"net_input": {"src_tokens": source}, "prompt_lengths": torch.tensor([len(p) for p in prompts])}


@pytest.mark.parametrize("vocab, task", [(RECOGNITION, "asr"), (RECOGNITION, "slm"), *((MIXTURE, t) for t in FORMATS)])
@pytest.mark.parametrize("decoders", [1, 2])
def test_answers_of_every_task_are_those_of_the_uncached_oracle(vocab, task, decoders):
    models = [RecurrentDecoder(len(vocab), seed) for seed in range(decoders)]
    emission = FORMATS[task].emission(vocab)
    prompts = [[vocab.separator, 5, 9], [4], [8, 8, 9, 10, vocab.separator]]
    scorer = Scorer(models, emission, temperature=0.8)
    generator = PromptGenerator(vocab, SearchOptions(beam=3, min_len=0), scorer, max_len_b=5)
    for prompt, found in zip(prompts, generator.generate(None, sample_of(prompts))):
        oracle = reference.model_scorer(models, prompt, emission.ids, temperature=0.8)
        assert_same(found, reference.beam_search(oracle, emission.end, 3, 5))


def test_a_language_model_over_ids_of_its_own():
    vocab, model, lm = RECOGNITION, RecurrentDecoder(len(RECOGNITION), 1), RecurrentDecoder(9, 2)
    emission = FORMATS["asr"].emission(vocab)
    ids = torch.arange(vocab.text_end).flip(0)  # of each of our symbols, the other way round
    fused = FusedLanguageModel(lm, ids, first_token=8, weight=0.6)
    generator = PromptGenerator(vocab, SearchOptions(beam=3, min_len=0), Scorer([model], emission, 1.0, fused))
    prompts = [[8, 9, vocab.separator], [vocab.separator]]
    for prompt, found in zip(prompts, generator.generate(None, sample_of(prompts))):
        plain = reference.model_scorer([model], prompt, emission.ids)
        oracle = reference.fused(plain, lm, dict(enumerate(ids.tolist())), 8, 0.6)
        limit = 20 - max(len(prompt), 1)  # positions, of the model and of the language model
        assert_same(found, reference.beam_search(oracle, emission.end, 3, limit))


def test_a_new_answer_is_another_emission():
    """Nothing in search knows tasks: any ids, ended by any of them."""
    model, prompt = RecurrentDecoder(len(RECOGNITION), 3), [RECOGNITION.separator]
    emission = Emission((4, 8, 9), end=8)
    generator = PromptGenerator(RECOGNITION, SearchOptions(beam=2, min_len=1), Scorer([model], emission), max_len_b=4)
    (found,) = generator.generate(None, sample_of([prompt]))
    oracle = reference.model_scorer([model], prompt, emission.ids)
    assert_same(found, reference.beam_search(oracle, 8, 2, 4, min_len=1))
    assert {token for h in found for token in h["tokens"].tolist()} <= {4, 8, 9}
