"""What to emit next: beam search or sampling over a batch of utterances, one step at a time.

The rules are those of fairseq's SequenceGenerator: of the 2K best continuations of K beams, an end symbol
among the first K finishes a hypothesis, the first K others go on, and an utterance is done when K hypotheses
are finished or its limit is reached. What differs: every utterance has its own limit, so that neither padding
nor the neighbours in the batch change a hypothesis, and K may exceed the vocabulary, so that a wide enough
beam is an exhaustive search.

Shapes: B utterances still in the batch, K beams, V symbols, C candidates, T steps so far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from sld_user_dir.errors import InputError

Candidates = Tuple[Tensor, Tensor, Tensor]
"""(B, C) each: summed log-probability, symbol, beam that it continues; best first."""


@dataclass(frozen=True)
class SearchOptions:
    """How to search; names and defaults of fairseq's GenerationConfig where it has them."""

    beam: int = 5
    """Hypotheses kept, and returned, for each utterance; 1 is greedy."""
    min_len: int = 1
    """Least tokens of a transcript, the end symbol not counted."""
    lenpen: float = 1.0
    """Scores are divided by (tokens + 1) ** lenpen; above 1 favours long transcripts."""
    unnormalized: bool = False
    """Leave scores as sums of log-probabilities."""
    no_repeat_ngram_size: int = 0
    """Never emit an n-gram of this many tokens twice; 0 allows all."""
    sampling: bool = False
    """Draw K independent hypotheses instead of searching for the best."""
    sampling_topk: int = -1
    """Draw among this many best symbols; below 1: all."""
    sampling_topp: float = -1.0
    """Draw among the fewest best symbols that together have this probability; 0 or below: all."""

    def __post_init__(self) -> None:
        """Raise InputError for numbers by which no two hypotheses can be compared, or drawn."""
        if not math.isfinite(self.lenpen):
            raise InputError(f"--lenpen {self.lenpen}", "every score becomes 0, infinite or NaN", "choose a finite one")
        if math.isnan(self.sampling_topp):
            raise InputError(f"--sampling-topp {self.sampling_topp}", "no probability", "choose it in (0, 1]")
        if self.no_repeat_ngram_size < 0:
            raise InputError(
                f"--no-repeat-ngram-size {self.no_repeat_ngram_size}", "fewer than no token", "take 1 or more, or 0"
            )


class Finished(NamedTuple):
    """A hypothesis: tokens with the end symbol, their log-probabilities, and its score."""

    tokens: List[int]
    log_probs: List[float]
    score: float
    truncated: bool
    """The limit forced the end symbol."""


class Search:
    """State of a search.

    Args:
        options: how to search
        eos: the end symbol
        limits: (B,) most tokens of each transcript, the end symbol not counted
        prefix: (B, T') tokens that transcripts must begin with, padded with `pad`; may hold the end symbol

    Attributes:
        finished: hypotheses of each utterance of the original batch
    """

    def __init__(self, options: SearchOptions, eos: int, limits: Tensor, prefix: Optional[Tensor] = None, pad: int = 1):
        self.options, self.eos, self.pad, self.prefix = options, eos, pad, prefix
        self.limits, self.lowest_limit = limits, int(limits.min())
        self.time = 0
        rows, beams = limits.size(0), options.beam
        self.utterances = list(range(rows))  # of the original batch, for each row that is left
        self.finished: List[List[Finished]] = [[] for _ in range(rows)]
        self.done = [False] * rows
        self.tokens = limits.new_zeros(rows, beams, 0)  # (B, K, T)
        self.sums = torch.full((rows, beams), float("-inf"), device=limits.device)  # (B, K); -inf: no such beam
        self.sums[:, 0] = 0.0  # all beams start alike: one stands for all
        self.history = self.sums.new_zeros(rows, beams, 0)  # (B, K, T) sums after each token

    def begin_with(self, tokens: Tensor, log_probs: Tensor) -> None:
        """Begin behind tokens (1, T) that the only transcript must begin with, none the end, of log_probs (1, T)."""
        self.time, beams = tokens.size(1), self.options.beam
        self.tokens = tokens[:, None].repeat(1, beams, 1)
        self.history = log_probs[:, None].cumsum(2).repeat(1, beams, 1)
        self.history[:, 1:] = float("-inf")  # still one beam stands for all
        self.sums = self.history[..., -1].clone()

    def advance(self, log_probs: Tensor) -> Tuple[Tensor, Tensor]:
        """Choose the next tokens; finishes hypotheses on the way.

        Args:
            log_probs: (B, K, V) of the next token after each beam; overwritten

        Returns:
            (B, K) tokens and the beams that they continue

        Raises:
            FloatingPointError: the model's probabilities are not numbers.
        """
        self.sums, self.history = self.sums.to(log_probs), self.history.to(log_probs)
        self._constrain(log_probs)
        sums, tokens, parents = self._sample(log_probs) if self.options.sampling else self._best(log_probs)
        if bool(sums[:, 0].isnan().any()):
            raise FloatingPointError("the model's output is NaN; decode in float32, or check the checkpoint")
        ends = tokens.eq(self.eos) & sums.gt(float("-inf"))
        self._finish(sums, parents, ends)
        self._continue(sums, tokens, parents, ends)
        self.time += 1
        self._mark_done()
        return self.tokens[..., -1], self.parents

    def drop_done(self) -> Optional[Tensor]:
        """Rows that go on, (B',), and forget the others; None while too few are done to be worth a copy."""
        if 4 * sum(self.done) < len(self.done):
            return None
        keep = [row for row, done in enumerate(self.done) if not done]
        rows = torch.tensor(keep, device=self.limits.device, dtype=torch.long)
        self.utterances, self.done = [self.utterances[row] for row in keep], [False] * len(keep)
        self.limits, self.tokens = self.limits[rows], self.tokens[rows]
        self.sums, self.history = self.sums[rows], self.history[rows]
        self.prefix = None if self.prefix is None else self.prefix[rows]
        return rows

    def results(self) -> List[List[Finished]]:
        """Hypotheses of each utterance, best first; at least one, if only an empty one without a chance."""
        impossible = Finished([self.eos], [float("-inf")], float("-inf"), True)
        return [sorted(found, key=lambda h: -h.score) or [impossible] for found in self.finished]

    # -- what may be emitted ------------------------------------------------------------------------

    def _constrain(self, log_probs: Tensor) -> None:
        """Set what must not be emitted to -inf, in place. The limit comes before the prefix before the rest."""
        end = log_probs[..., self.eos].clone()  # (B, K)
        if self.options.no_repeat_ngram_size:
            self._ban_repeated_ngrams(log_probs)
        if self.time < self.options.min_len:
            log_probs[..., self.eos] = float("-inf")
        if self.prefix is not None and self.time < self.prefix.size(1):
            self._force(log_probs, self.prefix[:, self.time], end)
        if self.time >= self.lowest_limit:
            at_limit = self.limits <= self.time
            log_probs.masked_fill_(at_limit[:, None, None], float("-inf"))
            log_probs[..., self.eos] = torch.where(at_limit[:, None], end, log_probs[..., self.eos])

    def _force(self, log_probs: Tensor, wanted: Tensor, end: Tensor) -> None:
        """Leave only `wanted` (B,) possible in the rows where it is no padding."""
        forced = wanted.ne(self.pad)
        log_probs[..., self.eos] = torch.where(wanted.eq(self.eos)[:, None], end, log_probs[..., self.eos])
        only = torch.full_like(log_probs, float("-inf"))
        index = wanted.masked_fill(~forced, 0)[:, None, None].expand(-1, log_probs.size(1), 1)
        only.scatter_(2, index, log_probs.gather(2, index))
        log_probs.copy_(torch.where(forced[:, None, None], only, log_probs))

    def _ban_repeated_ngrams(self, log_probs: Tensor) -> None:
        size = self.options.no_repeat_ngram_size
        if self.time < size:
            return
        ngrams = self.tokens.unfold(2, size, 1)  # (B, K, n-grams, size)
        latest = self.tokens[..., self.time - size + 1 :]  # (B, K, size - 1)
        rows, beams, which = ngrams[..., :-1].eq(latest.unsqueeze(2)).all(dim=-1).nonzero(as_tuple=True)
        log_probs[rows, beams, ngrams[rows, beams, which, -1]] = float("-inf")

    # -- candidates ---------------------------------------------------------------------------------

    def _best(self, log_probs: Tensor) -> Candidates:
        """2K best continuations: K of them may end."""
        symbols = log_probs.size(2)
        totals = log_probs.add_(self.sums.unsqueeze(-1)).flatten(1)  # (B, K V)
        sums, flat = totals.topk(2 * self.options.beam)
        return sums, flat % symbols, flat.div(symbols, rounding_mode="trunc")

    def _sample(self, log_probs: Tensor) -> Candidates:
        """One continuation of each beam, drawn; at first all beams continue beam 0."""
        if self.time == 0:
            self.sums = self.sums[:, :1].expand_as(self.sums)
        probs = log_probs.exp()
        if self.options.sampling_topk > 0:
            count = min(self.options.sampling_topk, probs.size(2))
            probs = probs.masked_fill(probs < probs.topk(count).values[..., -1:], 0.0)
        if self.options.sampling_topp > 0:
            ordered, order = probs.sort(descending=True)
            beyond = ordered.cumsum(-1) - ordered >= self.options.sampling_topp  # the set before is enough
            probs = probs.scatter(2, order, ordered.masked_fill(beyond, 0.0))
        probs[..., self.eos] += probs.sum(-1).eq(0).to(probs)  # something must be drawable; it scores -inf
        tokens = torch.multinomial(probs.flatten(0, 1), 1).view(probs.shape[:2])
        sums = self.sums + log_probs.gather(2, tokens.unsqueeze(-1)).squeeze(-1)
        return sums, tokens, torch.arange(probs.size(1), device=tokens.device).expand_as(tokens)

    # -- bookkeeping --------------------------------------------------------------------------------

    def _finish(self, sums: Tensor, parents: Tensor, ends: Tensor) -> None:
        """Record the end symbols among the K best candidates of utterances that want more hypotheses."""
        for row, candidate in ends[:, : self.options.beam].nonzero().tolist():
            found = self.finished[self.utterances[row]]
            if self.done[row] or len(found) == self.options.beam:
                continue
            beam = int(parents[row, candidate])
            totals = self.history[row, beam].tolist() + [sums[row, candidate].item()]
            log_probs = [after - before for after, before in zip(totals, [0.0] + totals)]
            norm = 1.0 if self.options.unnormalized else float(len(totals)) ** self.options.lenpen
            tokens = self.tokens[row, beam].tolist() + [self.eos]
            truncated = self.time >= int(self.limits[row])
            found.append(Finished(tokens, log_probs, totals[-1] / norm, truncated))

    def _continue(self, sums: Tensor, tokens: Tensor, parents: Tensor, ends: Tensor) -> None:
        """Go on with the K best candidates that do not end."""
        order = torch.arange(ends.size(1), device=ends.device) + ends.long() * ends.size(1)
        chosen = order.topk(self.options.beam, dim=1, largest=False).indices  # (B, K)
        self.parents = parents.gather(1, chosen)
        self.sums = sums.gather(1, chosen).masked_fill(ends.gather(1, chosen), float("-inf"))
        past = self.parents.unsqueeze(-1).expand_as(self.tokens)
        chosen_tokens = tokens.gather(1, chosen).unsqueeze(-1)
        self.tokens = torch.cat([self.tokens.gather(1, past), chosen_tokens], dim=2)
        self.history = torch.cat([self.history.gather(1, past), self.sums.unsqueeze(-1)], dim=2)

    def _mark_done(self) -> None:
        alive = self.sums.gt(float("-inf")).any(dim=1).tolist()
        for row, utterance in enumerate(self.utterances):
            full = len(self.finished[utterance]) == self.options.beam
            self.done[row] = self.done[row] or full or not alive[row]
