"""The likeliest CTC path of given transcripts, for a batch at once.

Symbols: N frames (here: units); w_1 … w_M the labels of a transcript; states s = 0 … 2M, of which s = 2m - 1 stands
for label w_m and an even s for the blank before, between or behind labels; p_t(c) probability of class c at frame t.

    v_t(s) = p_t(c_s) max(v_{t-1}(s), v_{t-1}(s - 1), v_{t-1}(s - 2) [s is a label, and not the one at s - 2])

The path ends in one of the last two states (Graves et al. 2006, section 4, with maxima in the place of sums).
"""

from __future__ import annotations

from typing import NamedTuple, Tuple

import torch
from torch import Tensor


class CtcAlignment(NamedTuple):
    """Of each label of each utterance the frames that emit it; what stands behind an utterance's labels is 0."""

    first: Tensor
    """(B, M) first frame"""
    last: Tensor
    """(B, M) last frame, included"""
    log_prob: Tensor
    """(B,) of the path; -inf where there is none: fewer frames than labels, and blanks between equal ones, need"""
    label_log_probs: Tensor
    """(B, M) mean log-probability of the label over its frames"""


def align_labels(log_probs: Tensor, lengths: Tensor, labels: Tensor, counts: Tensor) -> CtcAlignment:
    """Viterbi over CTC states.

    Args:
        log_probs: (B, N, C) of the classes at each frame, the blank first.
        lengths: (B,) frames of each utterance.
        labels: (B, M) classes, 1 or above where they count.
        counts: (B,) labels of each utterance.
    """
    log_probs = log_probs.double()
    states = _state_classes(labels)  # (B, S)
    path, log_prob = _best_path(log_probs, lengths, states, counts)  # (B, N), (B,)
    n_labels = labels.size(1)
    emitted = path[:, :, None] == 2 * torch.arange(n_labels, device=path.device) + 1  # (B, N, M)
    frames = torch.arange(path.size(1), device=path.device)[None, :, None]
    times = emitted.sum(1)
    last = torch.where(emitted, frames, -1).amax(1).clamp(min=0)
    first = (last - times + 1).clamp(min=0)  # a label's frames follow each other
    of_labels = log_probs.gather(2, labels[:, None].expand(-1, path.size(1), -1).clamp(min=0))
    sums = torch.where(emitted, of_labels, 0.0).sum(1)
    counted = (torch.arange(n_labels, device=path.device) < counts[:, None]) & log_prob.isfinite()[:, None]
    means = torch.where(counted, sums / times.clamp(min=1), 0.0)
    return CtcAlignment(first * counted, last * counted, log_prob, means)


def _state_classes(labels: Tensor) -> Tensor:
    """(B, 2M + 1) class of each state: blanks around labels (B, M)."""
    states = labels.new_zeros(labels.size(0), 2 * labels.size(1) + 1)
    states[:, 1::2] = labels.clamp(min=0)
    return states


def _best_path(log_probs: Tensor, lengths: Tensor, states: Tensor, counts: Tensor) -> Tuple[Tensor, Tensor]:
    """State at each frame (B, N), -1 behind the last one, and the log-probability (B,) of the path."""
    rows, n_frames = log_probs.shape[:2]
    scores = log_probs.gather(2, states[:, None].expand(-1, n_frames, -1))  # (B, N, S)
    skips = torch.zeros_like(states, dtype=torch.bool)
    skips[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    best = torch.full_like(scores[:, 0], -torch.inf)
    best[:, :2] = scores[:, 0, :2]
    came_from = torch.zeros(rows, n_frames, states.size(1), dtype=torch.uint8, device=states.device)
    for t in range(1, n_frames):
        one = _shifted(best, 1)
        two = _shifted(best, 2).masked_fill(~skips, -torch.inf)
        top, steps = torch.stack([best, one, two]).max(0)
        came_from[:, t] = steps
        best = torch.where((t < lengths)[:, None], top + scores[:, t], best)  # an utterance that has ended waits
    ends = torch.stack([2 * counts, (2 * counts - 1).clamp(min=0)], dim=1)  # (B, 2): the last blank, the last label
    log_prob, which = best.gather(1, ends).max(1)
    state = ends.gather(1, which[:, None]).squeeze(1)
    path = torch.full((rows, n_frames), -1, dtype=torch.long, device=states.device)
    for t in range(n_frames - 1, -1, -1):
        inside = t < lengths
        path[:, t] = torch.where(inside, state, -1)
        state = torch.where(inside, state - came_from[:, t].gather(1, state[:, None]).squeeze(1), state)
    return path, log_prob


def _shifted(scores: Tensor, by: int) -> Tensor:
    """Scores (B, S) of the states `by` below; -inf where there is none."""
    return torch.nn.functional.pad(scores, (by, 0), value=-torch.inf)[:, : scores.size(1)]
