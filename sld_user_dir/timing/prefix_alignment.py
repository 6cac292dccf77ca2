"""When a word can first be told: an alignment of models without a CTC, from their text probabilities alone.

A decoder is asked for the transcript after ever more of the utterance. Symbols: u_1 … u_N units; w_1 … w_M tokens of
the transcript;

    q_m(t) = P(w_m | u_1 … u_t, w_1 … w_{m-1})      how likely the token is once t units are heard

Before a word is said q is small, after it is large. So the token is placed where that change is likeliest, each later
than the one before: t_1 < t_2 < … < t_M that maximise

    sum over m of [ sum over t < t_m of log(1 - q_m(t))  +  sum over t >= t_m of log q_m(t) ].

It costs as many passes over the prompt as there are steps of `stride` units.
"""

from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor

from sld_user_dir.search.ctc_reading import at_least_float32
from sld_user_dir.search.decoders import Decoder
from sld_user_dir.sequences.sequence_format import Emission

LEAST = 1e-4
"""Probabilities are kept so far from 0 and 1: one surprise must not outweigh all else."""
BATCH_TOKENS = 16_000


def place_changes(probabilities: Tensor) -> Tensor:
    """(M,) the t_m of q (M, T), from 0 to T - 1; T must not be less than M."""
    q = probabilities.double().clamp(LEAST, 1 - LEAST)
    before = torch.nn.functional.pad(torch.log1p(-q).cumsum(1)[:, :-1], (1, 0))  # of all t below
    from_here = q.log().flip(1).cumsum(1).flip(1)
    slack = q.size(1) - q.size(0) + 1  # token m is at place m + i, where i never falls from token to token
    gain = (before + from_here).unfold(1, slack, 1).diagonal().T  # (M, slack): token m is placed at m + i
    best, came_from = gain[0], []
    for of_token in gain[1:]:
        top, place = best.cummax(0)
        came_from.append(place)
        best = top + of_token
    places = [int(best.argmax())]
    for place in reversed(came_from):
        places.append(int(place[places[-1]]))
    return torch.tensor(places[::-1]) + torch.arange(len(places))


@torch.no_grad()
def text_probabilities(
    decoders: Sequence[Decoder], emission: Emission, head: Sequence[int], units: Tensor, tail: Tensor, steps: Tensor
) -> Tensor:
    """q (M, T): of each token of the transcript after each number of units.

    Args:
        head: ids before the units.
        units: (N,) ids.
        tail: (1 + M,) ids of the separator and the transcript.
        steps: (T,) numbers of units.
    """
    before, after, found = units.new_tensor(list(head)), len(tail) - 1, []
    allowed = torch.zeros(max(emission.ids) + 1, dtype=torch.bool, device=units.device)
    allowed[list(emission.ids)] = True
    rows_at_once = max(1, BATCH_TOKENS // (len(before) + len(units) + len(tail)))
    for some in steps.split(rows_at_once):
        rows = [torch.cat([before, units[:t], tail]) for t in some.tolist()]
        lengths = torch.tensor([len(row) for row in rows], device=units.device)
        prompts = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=int(tail[0]))
        at = lengths[:, None] - after - 1 + torch.arange(after, device=units.device)  # (rows, M): what predicts each
        each = []
        for decoder in decoders:
            logits = decoder.start(prompts, lengths, 1, len(allowed), every_position=True).prompt_logits
            assert logits is not None
            of_text = at_least_float32(logits).gather(1, at[..., None].expand(-1, -1, logits.size(2)))
            probs = of_text.masked_fill(~allowed, -torch.inf).softmax(-1)
            each.append(probs.gather(2, tail[1:].expand(len(rows), -1)[..., None]).squeeze(2))
        found.append(torch.stack(each).mean(0))
    return torch.cat(found).T
