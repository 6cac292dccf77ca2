"""The training objectives as pure tensor functions (no fairseq, nothing of this package).

Sources: Deng et al., "Loss Masking Is Not Needed in Decoder-only Transformer for
Discrete-token-based ASR", ICASSP 2024, arXiv 2311.04534; the facts about the `official`
variant were read off the authors' public program.

Symbols: z (V,) logits of one position over the joint vocabulary, whose last K entries z^s are
the speech units; y the target; T temperature; eps the smoothing of the KL target; lambda label
smoothing; U = V - K, everything that is no unit.

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

Each loss is *linear* in a few numbers per position, the
`Statistics`. They are computed from logits here, and chunk by chunk from hidden states in
`fused.py`, which gets its gradient weights by differentiating `total_loss`.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, Tuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Where the classes lie in the joint vocabulary: units last and contiguous."""

    unit_offset: int
    num_units: int
    separator: int
    pad: int

    @classmethod
    def of(cls, vocab: Any) -> "Layout":
        """The layout of a `JointVocabulary`, or of anything with its attributes."""
        return cls(vocab.unit_offset, vocab.num_units, vocab.separator, vocab.pad)

    @property
    def size(self) -> int:
        return self.unit_offset + self.num_units


@dataclass(frozen=True)
class Objective:
    """Weights and variants; the defaults are the authors' recipe with the paper's KL target."""

    text_weight: float = 1.0
    speech_weight: float = 1.0
    kl_weight: float = 0.008
    kl_variant: str = "paper"  # or "official", or "centroid"
    kl_denominator: str = "sentence"  # or "token"
    temperature: float = 1.0
    smoothing: float = 0.1
    text_label_smoothing: float = 0.0
    speech_label_smoothing: float = 0.0
    speech_within_units: bool = False  # speech CE: lse over the K units instead of all of V
    speech_target_weight: float = 1.0  # of answers in speech; a mixture of tasks alone has any
    prompt_text: bool = True  # whether CE_text covers prompts in text (a mixture's `tts`)

    def __post_init__(self) -> None:
        if self.kl_variant not in ("paper", "official", "centroid"):
            raise ValueError(f"kl_variant must be 'paper', 'official' or 'centroid', not {self.kl_variant!r}")
        if self.kl_denominator not in ("token", "sentence"):
            raise ValueError(f"kl_denominator must be 'token' or 'sentence', not {self.kl_denominator!r}")
        weights = (self.text_weight, self.speech_weight, self.kl_weight)
        if min(*weights, self.speech_target_weight) < 0 or not any(weights):
            raise ValueError(f"no weight may be below 0, and one must be above it: {weights}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")
        for name in ("smoothing", "text_label_smoothing", "speech_label_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], not {getattr(self, name)}")

    @property
    def official(self) -> bool:
        return self.kl_variant == "official"

    def kl_target(self, num_units: int) -> Tuple[float, float]:
        """(a, b): the KL target's mass on the unit y and on each other unit.

        `paper`: q = (1-eps) [k = y] + eps/K. `official`: softmax(q / T); the 1e-9 that the
        authors add to q cancels in that softmax.
        """
        if self.kl_variant == "centroid":
            raise ValueError("the target of kl_variant 'centroid' takes more than two values")
        if not self.official:
            other = self.smoothing / num_units
            return 1 - self.smoothing + other, other
        odds = math.exp((1 - self.smoothing) / self.temperature)
        return odds / (odds + num_units - 1), 1 / (odds + num_units - 1)


def effective_label_smoothing(objective: Objective, num_units: int, mean_length: float) -> float:
    """lambda of the label smoothing that CE_speech and the KL together amount to, at T = 1.

    With the KL summed over tokens and divided by sentences, and N speech tokens a sentence on
    average, both together have inside the units the gradient of (1 + r) times a cross-entropy
    against (1-lambda) one-hot + lambda/K, where r = alpha N / w_speech and
    lambda = K b r / (1 + r). With the KL divided by its tokens, r = alpha / w_speech.
    """
    if objective.temperature != 1:
        raise ValueError("the equivalence holds at temperature 1 only")
    length = mean_length if objective.kl_denominator == "sentence" else 1.0
    strength = objective.kl_weight * length
    _, other = objective.kl_target(num_units)
    return num_units * other * strength / (objective.speech_weight + strength)


class SoftTargets(NamedTuple):
    """The KL targets of `centroid`: on unit y, the mass weights[y, i] on unit units[y, i]; both (K, m).

    A line of `units` holds no unit twice; a line of `weights` sums to 1.
    """

    units: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> "SoftTargets":
        return SoftTargets(self.units.to(device), self.weights.to(device))


class Segments(NamedTuple):
    """In a mixture of tasks: what the target of each position is in its sequence; each (B, L) bool."""

    answer: Tensor  # part of the answer, not of the prompt
    speech_prompt: Tensor  # of a sequence whose prompt is speech
    speech_target: Tensor  # of a sequence whose answer is speech


class Rows(NamedTuple):
    """The n positions that take part in some loss, out of the B * L of a batch; each (n,)."""

    position: Tensor  # index into the flattened (B * L)
    target: Tensor  # id of the next token
    unit_target: Tensor  # id of the unit that the KL target peaks at
    text: Tensor  # bool: counts in CE_text
    speech: Tensor  # bool: counts in CE_speech
    unit: Tensor  # bool: the target is a unit
    kl: Tensor  # bool: counts in the KL
    uniform: Tensor  # bool: its KL target is uniform
    answer: Tensor  # bool: counts in CE_target, the answers in speech
    neighbours: Optional[Tensor] = None  # (n, m) ids that the `centroid` target lies on
    masses: Optional[Tensor] = None  # (n, m) what it puts on them


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


def select_rows(
    src_tokens: Tensor, target: Tensor, layout: Layout, official: bool, soft: Optional[SoftTargets] = None,
    segments: Optional[Segments] = None, prompt_text: bool = True,
) -> Rows:  # fmt: skip
    """Sort the positions of a batch into classes. src_tokens, target: (B, L) ids.

    `official` follows the authors' program: the separator counts as speech; the KL covers every
    position but those from padding to padding and rows without a target; its target peaks at
    unit 0 where y is no unit, and is uniform where y is padding (the last token of a padded row,
    where the batch feeds it in).

    `segments`, in a mixture of tasks: CE_speech and the KL are left to sequences whose prompt is
    speech (the separator of `official` to all); an answer in speech, </s> included, is plain
    `answer`; a task's token has no cross-entropy. Without `prompt_text` a prompt in text has none.
    """
    fed = ((src_tokens != layout.pad) & (target != layout.pad).any(1, keepdim=True)).reshape(-1)
    target = target.reshape(-1)
    padding = target == layout.pad
    unit = target >= layout.unit_offset
    separator = target == layout.separator
    live = ~padding | fed if official else ~(padding | separator)
    index = live.nonzero().squeeze(1)
    target, padding, unit, separator = (t[index] for t in (target, padding, unit, separator))
    unit_target = target.clamp(min=layout.unit_offset)
    raw = unit_target - layout.unit_offset
    rows = Rows(
        position=index,
        target=target,
        unit_target=unit_target,
        text=~(unit | padding | separator),
        speech=unit | separator if official else unit,
        unit=unit,
        kl=torch.ones_like(unit) if official else unit,
        uniform=padding,
        answer=torch.zeros_like(unit),
        neighbours=None if soft is None else soft.units[raw] + layout.unit_offset,
        masses=None if soft is None else soft.weights[raw],
    )
    return rows if segments is None else _mixed(rows, segments, layout, prompt_text)


def _mixed(rows: Rows, segments: Segments, layout: Layout, prompt_text: bool) -> Rows:
    """The same positions, sorted by the part that they play in a mixture of tasks."""
    answered, speech_prompt, speech_target = (part.reshape(-1)[rows.position] for part in segments)
    task = (rows.target > layout.separator) & (rows.target < layout.unit_offset)
    answer = answered & speech_target & ~rows.uniform
    return rows._replace(
        text=rows.text & ~answer & ~task & (answered | prompt_text),
        speech=rows.speech & (speech_prompt | ~rows.unit),
        kl=rows.kl & speech_prompt,
        answer=answer,
    )


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
