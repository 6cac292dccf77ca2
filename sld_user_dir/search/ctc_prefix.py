"""Scores of prefixes by CTC, for a search that asks decoder and CTC alike what comes next.

Sources: the prefix probability is that of Graves 2008 ("Supervised sequence labelling with recurrent neural
networks", section 7.5.2), its use beside a decoder that of Watanabe et al. 2017 ("Hybrid CTC/attention architecture
for end-to-end speech recognition", section IV-C).

Symbols: N frames; p_t(c) probability of class c at frame t; g a prefix with last label l; r^n_t(g), r^b_t(g)
probability that the first t frames collapse to g and end with its last label, or with a blank.

    phi_t(g, c) = r^b_{t-1}(g) + r^n_{t-1}(g) [c != l]
    P(g c ...)  = sum over t of phi_t(g, c) p_t(c)             a transcript that begins with g c
    P(g)        = r^n_N(g) + r^b_N(g)                          the transcript is g: the score of its end
    r^n_t(g c)  = (r^n_{t-1}(g c) + phi_t(g, c)) p_t(c)
    r^b_t(g c)  = (r^b_{t-1}(g c) + r^n_{t-1}(g c)) p_t(blank)

Both recursions x_t = (x_{t-1} + a_t) q_t have the closed form

    log x_t = Q_t + log sum over s <= t of exp(log a_s - Q_{s-1}),   Q_t = sum over s <= t of log q_s,

so there is no loop over frames; and the sums over t for all c are one matrix product.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST = -700.0
"""Least log-probability of a class at one frame: its exponential is no zero, so logarithms and products agree about
what is possible, and sums over frames keep their digits."""


class CtcPrefixScorer:
    """Prefixes of K beams for each of B utterances.

    Args:
        log_probs: (B, N, C) of the classes at each frame, the blank first.
        lengths: (B,) frames of each utterance.
        beams: K.
    """

    def __init__(self, log_probs: Tensor, lengths: Tensor, beams: int):
        beyond = torch.arange(log_probs.size(1), device=log_probs.device) >= lengths[:, None]
        log_probs = log_probs.double().clamp(min=_LEAST)
        log_probs[..., 0] = log_probs[..., 0].masked_fill(beyond, 0.0)  # nothing but blanks follows the last frame
        self._log_probs, self._probs = log_probs, log_probs.exp().masked_fill(beyond[..., None], 0.0)
        self._beyond = beyond
        blanks = F.pad(log_probs[..., 0].cumsum(1), (1, 0))  # (B, N + 1): of no frame, of one, …
        self._blanks = blanks
        self._in_blank = blanks[:, None].repeat(1, beams, 1)  # log r^b, (B, K, N + 1), of the empty prefix
        self._in_label = torch.full_like(self._in_blank, -torch.inf)  # log r^n
        self._last = torch.zeros(len(lengths), beams, dtype=torch.long, device=lengths.device)
        self._total = torch.zeros(len(lengths), beams, dtype=torch.double, device=lengths.device)  # log P(g ...)
        self._next = self._prefix_scores()

    def scores(self) -> Tensor:
        """(B, K, C) log P(g c ...) - log P(g ...) of each class c; for class 0, which is no label, of the end of g."""
        least = torch.finfo(self._total.dtype).min / 2  # a prefix without a path stays without one, and is no NaN
        return self._next - self._total[..., None].clamp(min=least)

    def advance(self, classes: Tensor, parents: Tensor) -> None:
        """Continue beams `parents` (B, K) by labels `classes` (B, K); class 0 marks a beam that goes on no more."""
        past = parents[..., None].expand_as(self._in_blank)
        in_blank, in_label = self._in_blank.gather(1, past), self._in_label.gather(1, past)
        arriving = torch.logaddexp(
            in_blank, in_label.masked_fill((classes == self._last.gather(1, parents))[..., None], -torch.inf)
        )[..., :-1]
        labels = self._log_probs.transpose(1, 2).gather(1, classes[..., None].expand(-1, -1, arriving.size(2)))
        in_label = _accumulate(arriving, F.pad(labels.cumsum(2), (1, 0)))
        self._in_label = F.pad(in_label.masked_fill(self._beyond[:, None], -torch.inf), (1, 0), value=-torch.inf)
        self._in_blank = F.pad(
            _accumulate(self._in_label[..., :-1], self._blanks[:, None].expand_as(in_blank)), (1, 0), value=-torch.inf
        )
        self._last = classes
        scores = self._next.gather(1, parents[..., None].expand(-1, -1, self._next.size(2)))
        self._total = scores.gather(2, classes[..., None]).squeeze(2)
        self._next = self._prefix_scores()

    def keep(self, rows: Tensor) -> None:
        """Go on with these utterances only; rows: (B',) indices."""
        of_frames = ("_log_probs", "_probs", "_beyond", "_blanks")
        of_beams = ("_in_blank", "_in_label", "_last", "_total", "_next")
        for name in of_frames + of_beams:
            setattr(self, name, getattr(self, name)[rows])

    def _prefix_scores(self) -> Tensor:
        """(B, K, C) log P(g c ...), and log P(g) in the place of the blank."""
        either = torch.logaddexp(self._in_blank, self._in_label)
        scores = _log_matmul(either[..., :-1], self._probs)
        probs = self._probs.transpose(1, 2).gather(1, self._last[..., None].expand(-1, -1, self._probs.size(1)))
        repeated = _log_sum(self._in_blank[..., :-1], probs)
        scores = scores.scatter(2, self._last[..., None], repeated[..., None])
        scores[..., 0] = either[..., -1]
        return scores


def _accumulate(arriving: Tensor, sums: Tensor) -> Tensor:
    """log x_t for t = 1 … N of x_t = (x_{t-1} + a_t) q_t, x_0 = 0.

    Args:
        arriving: (..., N) log a_t.
        sums: (..., N + 1) log (q_1 … q_t), from t = 0.
    """
    return sums[..., 1:] + torch.logcumsumexp(arriving - sums[..., :-1], dim=-1)


def _log_matmul(logs: Tensor, probs: Tensor) -> Tensor:
    """log of exp(logs) @ probs: (B, K, N) and (B, N, C) to (B, K, C)."""
    top = logs.amax(-1, keepdim=True).clamp(min=torch.finfo(logs.dtype).min)
    return torch.matmul((logs - top).exp(), probs).log() + top


def _log_sum(logs: Tensor, probs: Tensor) -> Tensor:
    """log of the sum over n of exp(logs) probs, both (B, K, N)."""
    top = logs.amax(-1, keepdim=True).clamp(min=torch.finfo(logs.dtype).min)
    return ((logs - top).exp() * probs).sum(-1).log() + top.squeeze(-1)
