"""A causal convolution over the units of the prompt, before the first layer.

One unit of 20 ms says little; a sound is a few of them. Attention has to learn from data to look at the units just
before, a convolution looks there from the first update on: what makes Conformers learn speech faster than plain
Transformers (Gulati et al. 2020, arXiv 2005.08100). Here it is one layer over the embeddings x of units alone,

    x_t  +=  GELU(b + sum over k = 0 … kernel-1 of W_k x_{t-k})     where t is a unit,

with zeros where no unit stands. Text sees nothing of it, so decoding needs no more state than before.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sld_user_dir.compatibility import Conflict
from sld_user_dir.sequences.feature_names import HIDDEN_SEPARATORS, SPEECH_CONVOLUTION, TASK_TOKENS

CONFLICTS = (
    Conflict(
        frozenset({SPEECH_CONVOLUTION, TASK_TOKENS}),
        "for speech recognition alone: it reads units that are a prompt, not units that are emitted one by one",
        f"leave {SPEECH_CONVOLUTION} out, or train with a vocabulary without tasks",
    ),
    Conflict(
        frozenset({SPEECH_CONVOLUTION, HIDDEN_SEPARATORS}),
        "a hidden token counts as a unit, so text must not be hidden",
        "use --input-mask-tokens speech",
    ),
)


class SpeechConvolution(nn.Module):
    """Adds to each unit's embedding what the convolution makes of it and of the units before it.

    Args:
        dim: C, width of the embeddings.
        kernel: units that it sees, the current one included.
        unit_offset: id of unit 0.
        mask: id of <mask>, which hides units only.
    """

    def __init__(self, dim: int, kernel: int, unit_offset: int, mask: int):
        super().__init__()
        self.convolution = nn.Conv1d(dim, dim, kernel)
        self.kernel, self.unit_offset, self.mask = kernel, unit_offset, mask

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Embeddings (B, L, C) of tokens (B, L), the utterances not packed, to (B, L, C)."""
        speech = ((tokens >= self.unit_offset) | (tokens == self.mask)).unsqueeze(-1)
        units = torch.where(speech, x, x.new_zeros(())).transpose(1, 2)  # (B, C, L)
        context = F.gelu(self.convolution(F.pad(units, (self.kernel - 1, 0)))).transpose(1, 2)
        return torch.where(speech, x + context, x)
