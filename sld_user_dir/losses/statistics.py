"""The training objectives as pure tensor functions (no fairseq; of this package only `objective` and `rows`).

Sources: Deng et al., "Loss Masking Is Not Needed in Decoder-only Transformer for
Discrete-token-based ASR", ICASSP 2024, arXiv 2311.04534; the facts about the `official`
variant were read off the authors' public program.

Symbols: z (V,) logits of one position over the joint vocabulary, whose last K entries z^s are
the speech units; y the target; T temperature; eps the smoothing of the KL target; l label smoothing
(lambda in docs/losses.md); U = V - K, everything that is no unit.

    CE_text   = mean over text targets (</s> included) of  lse(z) - (1-l) z_y - l/U sum_{k<U} z_k
    CE_speech = mean over speech targets of                lse(z) - (1-l) z_y - l/K sum_k z^s_k
    KL        = T^2 sum_k q_k [log q_k - log softmax(z^s/T)_k],  summed, over its denominator
    L         = w_text CE_text + w_speech CE_speech + alpha KL

In a mixture of tasks (`Segments`) CE_speech and the KL cover speech that is a prompt, and a fourth
term, w_target CE_target, the answers in speech with their </s>: plain cross-entropy, a mean of its own.

Every KL target takes two values, a on y and b elsewhere, with (a-b) + K b = 1, hence

    KL = T^2 { H + lse(z^s/T) - [(a-b) z^s_y + b sum_k z^s_k] / T },   H = a log a + (K-1) b log b

so that no (n, K) target is ever built. But for the `centroid` target, which lies on the m units
nearest to y (`SoftTargets`); there

    KL = T^2 { sum_{k in N(y)} q_k log q_k + lse(z^s/T) - 1/T sum_{k in N(y)} q_k z^s_k }

Each loss is *linear* in a few numbers per position, the `Statistics`. They are computed from logits
here, and chunk by chunk from hidden states in `fused.py`, which gets its gradient weights by
differentiating `total_loss`.
"""

import math
from typing import NamedTuple, Tuple

import torch
from torch import Tensor

from sld_user_dir.losses.objective import Objective
from sld_user_dir.losses.positions import Layout, Rows


class Statistics(NamedTuple):
    """All that the losses need to know of the logits z of a position; each (n,)."""

    full: Tensor  # logsumexp(z)
    units: Tensor  # logsumexp(z^s)
    tempered: Tensor  # logsumexp(z^s / T)
    target: Tensor  # z_y
    unit_target: Tensor  # the logit at Rows.unit_target
    text_sum: Tensor  # sum_{k<U} z_k
    unit_sum: Tensor  # sum_k z^s_k
    neighbours: Tensor  # sum_i q_i z_i over Rows.neighbours


class Components(NamedTuple):
    """Sums over the rows, in nats; 0-dim. `*_nll` leave label smoothing out."""

    text: Tensor
    speech: Tensor
    kl: Tensor
    text_nll: Tensor
    speech_nll: Tensor
    answer: Tensor


class Denominators(NamedTuple):
    """What each component is divided by; 0-dim. 0 acts as 1: a sum over nothing is 0."""

    text: Tensor
    speech: Tensor
    kl: Tensor
    answer: Tensor


def statistics(logits: Tensor, rows: Rows, objective: Objective, layout: Layout) -> Statistics:
    """Statistics by autograd. logits: (n, V), one line for each of the rows."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    text, units = logits.split([layout.unit_offset, layout.num_units], dim=1)
    lse_units = units.logsumexp(1)
    same = objective.temperature == 1
    neighbours = lse_units.new_zeros(len(lse_units))
    if rows.neighbours is not None and rows.masses is not None:
        neighbours = (logits.gather(1, rows.neighbours) * rows.masses.to(logits.dtype)).sum(1)
    return Statistics(
        full=logits.logsumexp(1),
        units=lse_units,
        tempered=lse_units if same else (units / objective.temperature).logsumexp(1),
        target=logits.gather(1, rows.target[:, None]).squeeze(1),
        unit_target=logits.gather(1, rows.unit_target[:, None]).squeeze(1),
        text_sum=text.sum(1),
        unit_sum=units.sum(1),
        neighbours=neighbours,
    )


def components(stats: Statistics, rows: Rows, objective: Objective, layout: Layout) -> Components:
    """The sums of every loss over the rows; those of weight 0 stay 0 and cost nothing."""
    zero = stats.full.new_zeros(())
    text = text_nll = speech = speech_nll = kl = answer = zero
    if objective.text_weight:
        spread = objective.text_label_smoothing
        peak = (1 - spread) * stats.target + spread / layout.unit_offset * stats.text_sum
        text = _sum_where(rows.text, stats.full - peak)
        text_nll = _sum_where(rows.text, stats.full - stats.target)
    if objective.speech_weight:
        normaliser = stats.full
        if objective.speech_within_units:
            normaliser = torch.where(rows.unit, stats.units, stats.full)
        smooth = objective.speech_label_smoothing * rows.unit.to(stats.full.dtype)
        peak = (1 - smooth) * stats.target + smooth / layout.num_units * stats.unit_sum
        speech = _sum_where(rows.speech, normaliser - peak)
        speech_nll = _sum_where(rows.speech, normaliser - stats.target)
    if objective.kl_weight and objective.kl_variant == "centroid":
        kl = _sum_where(rows.kl, _soft_kl(stats, rows, objective))
    elif objective.kl_weight:
        kl = _sum_where(rows.kl, _kl(stats, rows, objective, layout.num_units))
    if objective.speech_target_weight:
        answer = _sum_where(rows.answer, stats.full - stats.target)
    return Components(text, speech, kl, text_nll, speech_nll, answer)


def _kl(stats: Statistics, rows: Rows, objective: Objective, num_units: int) -> Tensor:
    """(n,): T^2 KL(q || softmax(z^s / T)) in closed form."""
    peaked, flat = objective.kl_target(num_units), (1 / num_units, 1 / num_units)

    def choose(of_flat: float, of_peaked: float) -> Tensor:
        table = stats.full.new_tensor([of_peaked, of_flat])
        return table[rows.uniform.long()]

    a_minus_b = choose(flat[0] - flat[1], peaked[0] - peaked[1])
    b = choose(flat[1], peaked[1])
    negentropy = choose(_negentropy(*flat, num_units), _negentropy(*peaked, num_units))
    temperature = objective.temperature
    dot = (a_minus_b * stats.unit_target + b * stats.unit_sum) / temperature
    return temperature**2 * (negentropy + stats.tempered - dot)


def _soft_kl(stats: Statistics, rows: Rows, objective: Objective) -> Tensor:
    """(n,): the same of the `centroid` target."""
    if rows.masses is None:
        raise ValueError("kl_variant 'centroid' needs SoftTargets in select_rows")
    masses = rows.masses.to(stats.tempered.dtype)
    temperature = objective.temperature
    negentropy = torch.xlogy(masses, masses).sum(1)
    return temperature**2 * (negentropy + stats.tempered - stats.neighbours / temperature)


def _negentropy(a: float, b: float, num_units: int) -> float:
    """sum_k q_k log q_k of the target with a once and b K-1 times; 0 log 0 = 0."""
    total = a * math.log(a) if a > 0 else 0.0
    return total + ((num_units - 1) * b * math.log(b) if b > 0 else 0.0)


def _sum_where(mask: Tensor, values: Tensor) -> Tensor:
    return torch.where(mask, values, 0).sum()


def total_loss(parts: Components, objective: Objective, denominators: Denominators) -> Tensor:
    """L = w_text CE_text + w_speech CE_speech + alpha KL [+ w_target CE_target], 0-dim, in nats."""
    text, speech, kl, answer = (count.clamp(min=1) for count in denominators)
    return (
        objective.text_weight * parts.text / text
        + objective.speech_weight * parts.speech / speech
        + objective.kl_weight * parts.kl / kl
        + objective.speech_target_weight * parts.answer / answer
    )


def plain_loss(
    logits: Tensor, rows: Rows, objective: Objective, layout: Layout, denominators: Denominators
) -> Tuple[Tensor, Components, Tensor]:
    """The loss of ready-made logits (B, L, V), by autograd.

    Returns the loss (0-dim, nats), its detached components, and for each row whether its target
    has the greatest logit (n,) bool.
    """
    selected = logits.reshape(-1, logits.size(-1))[rows.position]
    stats = statistics(selected, rows, objective, layout)
    parts = components(stats, rows, objective, layout)
    top = selected.detach().amax(1) if len(selected) else stats.target
    correct = selected.detach().gather(1, rows.target[:, None]).squeeze(1) >= top
    detached = Components(*(part.detach() for part in parts))
    return total_loss(parts, objective, denominators), detached, correct
