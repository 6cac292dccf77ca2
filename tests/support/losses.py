"""Random batches, objectives by the names of the oracle's options, and the two forms of the loss on them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional, Tuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from sld_user_dir.losses.fused import fused_loss
from sld_user_dir.losses.objective import Objective, plain_loss
from sld_user_dir.losses.positions import Layout, Positions, positions_of
from sld_user_dir.losses.term import Measure, Term
from sld_user_dir.losses.terms.centroid_kl import CentroidKL, CentroidTable, SoftTargets
from sld_user_dir.losses.terms.cross_entropy import SpeechCrossEntropy, TextCrossEntropy
from sld_user_dir.losses.terms.official_kl import OfficialKL
from sld_user_dir.losses.terms.smoothed_kl import SmoothedKL
from sld_user_dir.sequences.segments import ANSWER, SPEECH_PROMPT
from support import reference

PAD, EOS, SEPARATOR, OFFSET = 1, 2, 8, 9

Sample = Dict[str, Any]


def layout(num_units: int) -> Layout:
    return Layout(OFFSET, num_units, SEPARATOR, PAD)


@dataclass(frozen=True)
class LossOptions:
    """The options of `reference.loss`."""

    text_weight: float = 1.0
    speech_weight: float = 1.0
    kl_weight: float = 0.008
    kl_variant: str = "paper"
    kl_denominator: str = "sentence"
    temperature: float = 1.0
    smoothing: float = 0.1
    text_label_smoothing: float = 0.0
    speech_label_smoothing: float = 0.0
    speech_within_units: bool = False

    def kl(self, soft: Optional[SoftTargets] = None) -> Any:
        shared = self.temperature, self.kl_denominator
        if self.kl_variant == "centroid":
            assert soft is not None
            return CentroidKL(CentroidTable(soft), self.kl_weight, *shared)
        kind = {"paper": SmoothedKL, "official": OfficialKL}[self.kl_variant]
        return kind(self.kl_weight, self.smoothing, *shared)

    def objective(self, soft: Optional[SoftTargets] = None) -> Objective:
        """The product's objective of these options."""
        terms: List[Term] = [
            TextCrossEntropy(self.text_weight, self.text_label_smoothing),
            SpeechCrossEntropy(
                self.speech_weight, self.speech_label_smoothing, self.speech_within_units, self.kl_variant == "official"
            ),
        ]
        if self.kl_weight:
            terms.append(self.kl(soft))
        return Objective([term for term in terms if term.weight])


def random_batch(
    seed: int, batch: int, length: int, num_units: int, left: bool = False, feed_last: bool = False
) -> Tuple[Tensor, Tensor]:
    """(src_tokens, target), each (B, L): units, separator, text, </s>, padding on either side.

    With `feed_last` the </s> of a padded row is an input too, whose target is padding.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, size: int) -> Tensor:
        return torch.randint(low, high, (size,), generator=generator)

    src = torch.full((batch, length), PAD)
    target = src.clone()
    for row in range(batch):
        n = int(draw(1, max(length - 1, 2), 1))
        m = int(draw(0, max(length - n, 1), 1))
        ids = torch.cat(
            [draw(OFFSET, OFFSET + num_units, n), torch.tensor([SEPARATOR]), draw(4, SEPARATOR, m), torch.tensor([EOS])]
        )[: length + 1]
        size = len(ids) - 1
        at = slice(length - size, length) if left else slice(0, size)
        src[row, at], target[row, at] = ids[:-1], ids[1:]
        if feed_last and not left and size < length:
            src[row, size] = EOS
    return src, target


def sample_of(src: Tensor, target: Tensor) -> Sample:
    """A collated batch of sequences to be recognised: text is answer, all else prompt."""
    answer = (target < OFFSET) & (target != SEPARATOR)
    return {
        "nsentences": len(target),
        "ntokens": int((target != PAD).sum()),
        "net_input": {"src_tokens": src, "src_lengths": (src != PAD).sum(1)},
        "target": target,
        "segments": (SPEECH_PROMPT + ANSWER * answer).to(torch.uint8),
    }


def selected(src: Tensor, target: Tensor, num_units: int, objective: Objective) -> Tuple[Positions, Tensor]:
    """The positions that take part, and the divisors of the batch by itself."""
    everywhere = positions_of(sample_of(src, target), layout(num_units))
    return objective.select(everywhere), objective.divisors(everywhere)


Form = Tuple[Tensor, List[Measure], Tensor]


def plain_form(
    hidden: Tensor,
    weight: Tensor,
    src: Tensor,
    target: Tensor,
    options: LossOptions,
    soft: Optional[SoftTargets] = None,
) -> Form:
    """Loss, measures, and where the target is the likeliest, by autograd."""
    return _of_logits(hidden @ weight.t(), src, target, options, soft)


def _of_logits(
    logits: Tensor, src: Tensor, target: Tensor, options: LossOptions, soft: Optional[SoftTargets] = None
) -> Form:
    objective = options.objective(soft)
    at, divisors = selected(src, target, logits.size(-1) - OFFSET, objective)
    loss, stats, correct = plain_loss(logits, at, objective, divisors)
    return loss, objective.measures(stats, at, correct, divisors), correct


def fused_form(
    hidden: Tensor,
    weight: Tensor,
    src: Tensor,
    target: Tensor,
    options: LossOptions,
    chunk_size: Optional[int] = None,
    soft: Optional[SoftTargets] = None,
) -> Form:
    """The same, fused with the projection."""
    objective = options.objective(soft)
    at, divisors = selected(src, target, weight.size(0) - OFFSET, objective)
    loss, stats, correct = fused_loss(hidden, weight, at, objective, divisors, chunk_size)
    return loss, objective.measures(stats, at, correct, divisors), correct


def closed_form(
    logits: Tensor, src: Tensor, target: Tensor, options: LossOptions, soft: Optional[SoftTargets] = None
) -> Tensor:
    """The loss of logits (B, L, V)."""
    return _of_logits(logits, src, target, options, soft)[0]


def oracle(logits: Tensor, src: Tensor, target: Tensor, options: LossOptions) -> Tensor:
    """The loss by its definition."""
    return reference.loss(logits, src, target, PAD, SEPARATOR, OFFSET, **asdict(options))[0]


def hidden_and_weight(
    src: Tensor, k: int, dtype: torch.dtype = torch.float64, scale: float = 1.0, dim: int = 6
) -> Tuple[Tensor, Tensor]:
    """Random hidden states (B, L, dim) and an output matrix (V, dim), both with gradients."""
    generator = torch.Generator().manual_seed(7)
    hidden = torch.randn(*src.shape, dim, generator=generator, dtype=torch.float64) * scale
    weight = torch.randn(OFFSET + k, dim, generator=generator, dtype=torch.float64)
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()


_WEIGHTS = st.tuples(*(st.sampled_from([0.0, 0.008, 1.3]) for _ in range(3))).filter(any)
objectives = st.builds(
    lambda weights, **options: LossOptions(*weights, **options),
    _WEIGHTS,
    kl_variant=st.sampled_from(["paper", "official"]),
    kl_denominator=st.sampled_from(["sentence", "token"]),
    temperature=st.sampled_from([1.0, 2.5, 0.5]),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    text_label_smoothing=st.sampled_from([0.0, 0.2, 1.0]),
    speech_label_smoothing=st.sampled_from([0.0, 0.3, 1.0]),
    speech_within_units=st.booleans(),
)
batches = st.builds(
    random_batch,
    seed=st.integers(0, 999),
    batch=st.integers(1, 3),
    length=st.integers(1, 7),
    num_units=st.just(5),
    left=st.booleans(),
    feed_last=st.booleans(),
)
