"""Slow oracles for decoding: no cache, no batch, no beams in tensors. Imports no product code.

A `Scorer` maps a transcript so far (ids) to the log-probability of each id that may come next.
"""

import itertools
import math
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

import torch

Scorer = Callable[[Tuple[int, ...]], Dict[int, float]]


class Hypothesis(NamedTuple):
    tokens: Tuple[int, ...]
    log_probs: Tuple[float, ...]
    score: float


def model_scorer(models: Sequence, prompt: Sequence[int], emitted: Sequence[int], temperature: float = 1.0) -> Scorer:
    """Runs the whole sequence through the models at each call; softmax over `emitted`; mean probability."""

    def score(transcript: Tuple[int, ...]) -> Dict[int, float]:
        row = torch.tensor([list(prompt) + list(transcript)])
        with torch.no_grad():
            logits = [model(row)[0][0, -1, list(emitted)] / temperature for model in models]
        log_probs = torch.stack([x.log_softmax(-1) for x in logits]).logsumexp(0) - math.log(len(models))
        return dict(zip(emitted, log_probs.tolist()))

    return score


def fused(scorer: Scorer, language_model, ids: Dict[int, int], start: int, weight: float) -> Scorer:
    """Adds a language model's log-probabilities; `ids` maps ids to the language model's."""

    def score(transcript: Tuple[int, ...]) -> Dict[int, float]:
        row = torch.tensor([[start] + [ids[token] for token in transcript]])
        with torch.no_grad():
            log_probs = language_model(row)[0][0, -1].log_softmax(-1)
        return {token: p + weight * log_probs[ids[token]].item() for token, p in scorer(transcript).items()}

    return score


def repeats(transcript: Sequence[int], token: int, size: int) -> bool:
    """Whether appending `token` makes an n-gram of `size` that is there already."""
    longer = list(transcript) + [token]
    grams = [tuple(longer[i : i + size]) for i in range(len(longer) - size + 1)]
    return len(grams) > 1 and grams[-1] in grams[:-1]


def beam_search(
    scorer: Scorer,
    eos: int,
    beam: int,
    limit: int,
    min_len: int = 0,
    lenpen: float = 1.0,
    no_repeat: int = 0,
    prefix: Sequence[int] = (),
) -> List[Hypothesis]:
    """fairseq's rules: of the 2 x beam best continuations, ends among the first `beam` finish."""
    live: List[Tuple[Tuple[int, ...], Tuple[float, ...]]] = [((), ())]
    finished: List[Hypothesis] = []
    for time in range(limit + 1):
        candidates = []
        for tokens, log_probs in live:
            for token, p in scorer(tokens).items():
                if time == limit:
                    allowed = token == eos
                elif time < len(prefix):
                    allowed = token == prefix[time]
                elif token == eos:
                    allowed = time >= min_len
                else:
                    allowed = not (no_repeat and repeats(tokens, token, no_repeat))
                if allowed:
                    candidates.append((sum(log_probs) + p, tokens + (token,), log_probs + (p,)))
        candidates.sort(key=lambda c: -c[0])
        live = []
        for rank, (total, tokens, log_probs) in enumerate(candidates[: 2 * beam]):
            if tokens[-1] != eos:
                live.append((tokens, log_probs))
            elif rank < beam and len(finished) < beam:
                finished.append(Hypothesis(tokens, log_probs, total / len(tokens) ** lenpen))
        live = live[:beam]
        if len(finished) == beam or not live:
            break
    return sorted(finished, key=lambda h: -h.score)


def exhaustive(scorer: Scorer, eos: int, limit: int, lenpen: float = 1.0) -> List[Hypothesis]:
    """Every transcript of at most `limit` tokens, best first."""
    symbols = [token for token in scorer(()) if token != eos]
    found = []
    for length in range(limit + 1):
        for tokens in itertools.product(symbols, repeat=length):
            full = tokens + (eos,)
            log_probs = tuple(scorer(full[:i])[token] for i, token in enumerate(full))
            found.append(Hypothesis(full, log_probs, math.fsum(log_probs) / len(full) ** lenpen))
    return sorted(found, key=lambda h: -h.score)
