"""`--ctc-weight`: a CTC loss on the speech positions, beside the losses of single positions.

Sources: Graves et al. 2006, "Connectionist temporal classification"; as an auxiliary of an
attention model, Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end speech
recognition".

Symbols: h_1 … h_N hidden states at the positions whose *input* is a unit (masked or not); E the
output matrix; C the classes blank, <unk> and the text symbols; w the transcript without </s>.

    p_t = softmax over C of E_C h_t
    CTC = - sum over utterances of log sum_{paths pi of length N that collapse to w} prod_t p_t(pi_t)
    L  += w_ctc CTC / (number of text targets of the update, </s> included: that of CE_text)

The blank is <s>, as in fairseq's CTC: it is never a target here, so its row of E is free. No
parameter is added. An utterance with fewer units than CTC needs (one per label, and one more
between equal labels) has no path: it is counted and carries no CTC loss.

The model is causal: h_t has seen u_1 … u_t and nothing later, so CTC can emit a symbol only after
its sound, and the states of the prompt learn to hold what has been said so far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sld_user_dir.compatibility import Conflict
from sld_user_dir.errors import InputError
from sld_user_dir.losses.positions import Layout, Positions
from sld_user_dir.losses.term import Context, Measure, SequenceTerm, register_term
from sld_user_dir.sequences.ctc_classes import CtcClasses
from sld_user_dir.sequences.feature_names import CTC_LOSS, PACKED_ROWS, TASK_TOKENS


class AlignedUtterances(NamedTuple):
    """The b rows of a batch that carry a CTC loss, and how many are too short for one."""

    rows: Tensor  # (b,)
    units: Tensor  # (b,) N of each
    labels: Tensor  # (b, M) ids, of which the first `tokens` count
    tokens: Tensor  # (b,) M of each
    short: Tensor  # 0-dim


@dataclass
class CTCOptions:
    """Options of the CTC loss."""

    ctc_weight: float = field(
        default=0.0,
        metadata={
            "help": "w_ctc, factor of a CTC loss on the speech positions (blank <s>, no parameters of its own), "
            "divided by the number of text tokens as CE_text is (Watanabe et al. 2017; docs/losses.md)"
        },
    )


@register_term
class CTC(SequenceTerm):
    """- log P(w | u) of every utterance with units enough for its text.

    Args:
        vocab: a `JointVocabulary`, or anything with its `bos`, `unk`, `text_end` and layout.
        weight: w_ctc.
        add_bos: the first input of every row is <s>, not a unit.
    """

    name = "ctc"
    Options = CTCOptions
    features = frozenset({CTC_LOSS})
    conflicts = (
        Conflict(
            frozenset({CTC_LOSS, TASK_TOKENS}),
            "CTC is for speech recognition alone, not for a mixture of tasks",
            "leave --ctc-weight out, or train with a vocabulary without tasks",
        ),
        Conflict(frozenset({CTC_LOSS, PACKED_ROWS}), "CTC needs one utterance a row", f"leave {PACKED_ROWS} out"),
    )

    def __init__(self, vocab: Any, weight: float, add_bos: bool) -> None:
        if not 0 <= weight < math.inf:
            raise InputError(f"--ctc-weight {weight}", "below 0, or not finite", "choose one above 0, or 0 for none")
        self.layout = Layout.of(vocab)
        self.classes = CtcClasses.of(vocab)
        self.weight, self.start = weight, int(add_bos)

    @classmethod
    def from_options(cls, options: Any, context: Context) -> Optional[CTC]:
        return cls(context.vocab, options.ctc_weight, context.add_bos) if options.ctc_weight else None

    def divisor(self, at: Positions) -> Tensor:
        """The number of text targets, as of CE_text."""
        return (at.is_text & at.is_answer).sum()

    def sum(self, outputs: Tensor, matrix: Optional[Tensor], target: Tensor) -> Tuple[Tensor, List[Measure]]:
        """See `SequenceTerm`.

        Raises:
            ValueError: several utterances in one row.
        """
        chosen = self.select(target)
        nll = self._nll(outputs, matrix, chosen)
        short = Measure("ctc_short", chosen.short, chosen.short + len(chosen.rows), "percent")
        return nll, [Measure("ctc", nll.detach(), chosen.tokens.sum()), short]

    def select(self, target: Tensor) -> AlignedUtterances:
        """The utterances `units <sep> text` among the rows of target (B, L), padded on the right."""
        separator = target == self.layout.separator
        count = separator.sum(1)
        if bool((count > 1).any()):
            raise InputError(None, "--ctc-weight needs one utterance a row", "leave out the packing of rows")
        at = separator.int().argmax(1)  # (B,): the last unit's position, whose target is the separator
        index = torch.arange(target.size(1), device=target.device)
        speech = ((target >= self.layout.unit_offset) | (index >= at[:, None])).all(1) & (count == 1)
        text = (index > at[:, None]) & (target >= self.classes.first) & (target < self.classes.end)
        units, tokens = at + 1 - self.start, text.sum(1)
        slots = torch.arange(int(tokens.max()) if len(tokens) else 0, device=target.device)
        labels = target.gather(1, (at[:, None] + 1 + slots).clamp(max=target.size(1) - 1))
        equal = (labels[:, 1:] == labels[:, :-1]) & (slots[1:] < tokens[:, None])
        enough = units >= (tokens + equal.sum(1)).clamp(min=1)
        rows = (speech & enough).nonzero().squeeze(1)
        return AlignedUtterances(rows, units[rows], labels[rows], tokens[rows], (speech & ~enough).sum())

    def _nll(self, outputs: Tensor, matrix: Optional[Tensor], chosen: AlignedUtterances) -> Tensor:
        """-log P(text | units), summed over the utterances; 0-dim."""
        dtype = torch.float64 if outputs.dtype == torch.float64 else torch.float32
        if not len(chosen.rows):
            return outputs.new_zeros((), dtype=dtype)
        span = slice(self.start, self.start + int(chosen.units.max()))
        logits = self._classes(outputs, matrix, chosen.rows, span).to(dtype)
        with torch.backends.cudnn.flags(enabled=False):
            return F.ctc_loss(
                logits.log_softmax(-1).transpose(0, 1),  # (N, b, C)
                self.classes.of_ids(chosen.labels),
                chosen.units,
                chosen.tokens,
                blank=0,
                reduction="sum",
            )

    def _classes(self, outputs: Tensor, matrix: Optional[Tensor], rows: Tensor, span: slice) -> Tensor:
        """Logits (b, N, C) of the blank, then of the text ids in their order."""
        if matrix is not None:
            return F.linear(outputs[rows, span], self.classes.of_outputs(matrix, dim=0))
        return self.classes.of_outputs(outputs[:, span])[rows]
