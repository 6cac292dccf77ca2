"""`--ctc-weight`: a CTC loss on the speech positions, beside the losses of `losses.py`.

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

from typing import Any, Dict, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sld_user_dir.losses.positions import Layout


class Utterances(NamedTuple):
    """The b rows of a batch that carry a CTC loss, and how many are too short for one."""

    rows: Tensor  # (b,)
    units: Tensor  # (b,) N of each
    labels: Tensor  # (b, M) ids, of which the first `tokens` count
    tokens: Tensor  # (b,) M of each
    short: Tensor  # 0-dim


class CtcLoss:
    """The CTC loss of a batch.

    Args:
        vocab: a `JointVocabulary`, or anything with its `bos`, `unk`, `text_end` and layout.
        weight: w_ctc.
        add_bos: the first input of every row is <s>, not a unit.
    """

    def __init__(self, vocab: Any, weight: float, add_bos: bool) -> None:
        if weight < 0:
            raise ValueError(f"--ctc-weight may not be below 0: {weight}")
        self.layout = Layout.of(vocab)
        self.blank, self.first, self.end = vocab.bos, vocab.unk, vocab.text_end  # text ids: first … end-1
        self.weight, self.start = weight, int(add_bos)

    def __call__(
        self, outputs: Tensor, matrix: Optional[Tensor], target: Tensor, text_targets: Tensor
    ) -> Tuple[Tensor, Dict[str, Tensor]]:
        """This batch's share of the update's loss (nats, 0-dim), and sums for the log.

        Args:
            outputs: hidden states (B, L, d), or with `matrix` None logits (B, L, V).
            matrix: output matrix (V, d).
            target: (B, L) ids.
            text_targets: number of text targets of the update.

        Raises:
            ValueError: several utterances in one row, or logits of other symbols.
        """
        chosen = self.select(target)
        nll = self._nll(outputs, matrix, chosen)
        logs = {
            "ctc_objective": self.weight * nll.detach(),
            "ctc_nll": nll.detach(),
            "ctc_tokens": chosen.tokens.sum(),
            "ctc_short": chosen.short,
            "ctc_sentences": chosen.short + len(chosen.rows),
        }
        return self.weight * nll / text_targets.clamp(min=1), logs

    def select(self, target: Tensor) -> Utterances:
        """The utterances `units <sep> text` among the rows of target (B, L), padded on the right."""
        separator = target == self.layout.separator
        count = separator.sum(1)
        if bool((count > 1).any()):
            raise ValueError("--ctc-weight needs one utterance a row; leave out the packing of rows")
        at = separator.int().argmax(1)  # (B,): the last unit's position, whose target is the separator
        index = torch.arange(target.size(1), device=target.device)
        speech = ((target >= self.layout.unit_offset) | (index >= at[:, None])).all(1) & (count == 1)
        text = (index > at[:, None]) & (target >= self.first) & (target < self.end)
        units, tokens = at + 1 - self.start, text.sum(1)
        slots = torch.arange(int(tokens.max()) if len(tokens) else 0, device=target.device)
        labels = target.gather(1, (at[:, None] + 1 + slots).clamp(max=target.size(1) - 1))
        equal = (labels[:, 1:] == labels[:, :-1]) & (slots[1:] < tokens[:, None])
        enough = units >= (tokens + equal.sum(1)).clamp(min=1)
        rows = (speech & enough).nonzero().squeeze(1)
        return Utterances(rows, units[rows], labels[rows], tokens[rows], (speech & ~enough).sum())

    def _nll(self, outputs: Tensor, matrix: Optional[Tensor], chosen: Utterances) -> Tensor:
        """-log P(text | units), summed over the utterances; 0-dim."""
        dtype = torch.float64 if outputs.dtype == torch.float64 else torch.float32
        if not len(chosen.rows):
            return outputs.new_zeros((), dtype=dtype)
        span = slice(self.start, self.start + int(chosen.units.max()))
        logits = self._classes(outputs, matrix, chosen.rows, span).to(dtype)
        with torch.backends.cudnn.flags(enabled=False):
            return F.ctc_loss(
                logits.log_softmax(-1).transpose(0, 1),  # (N, b, C)
                (chosen.labels - self.first + 1).clamp(min=1),  # what is no label isn't looked at
                chosen.units,
                chosen.tokens,
                blank=0,
                reduction="sum",
            )

    def _classes(self, outputs: Tensor, matrix: Optional[Tensor], rows: Tensor, span: slice) -> Tensor:
        """Logits (b, N, C) of the blank, then of the text ids in their order."""
        if matrix is not None:
            classes = torch.cat([matrix[self.blank : self.blank + 1], matrix[self.first : self.end]])
            return F.linear(outputs[rows, span], classes)
        some = outputs[:, span]
        return torch.cat([some[..., self.blank : self.blank + 1], some[..., self.first : self.end]], -1)[rows]
