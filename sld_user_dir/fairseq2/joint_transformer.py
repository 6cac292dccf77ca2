"""The model: fairseq2's embedding front end and pre-norm decoder layers over the joint vocabulary.

Padding needs no mask where it stands on the right: no real position sees what comes after it, and no loss reads the
rows of padding. So batches run with plain causal attention.
"""

from __future__ import annotations

from typing import Any, Optional

from fairseq2.models.clm import CausalLM
from fairseq2.models.transformer import TransformerFrontend
from fairseq2.models.transformer_lm import TransformerLMDecoder
from fairseq2.nn import BatchLayout, IncrementalStateBag, Projection
from fairseq2.nn.functional import cross_entropy
from torch import Tensor
from torch.distributed.tensor import DTensor

from sld_user_dir.manifests.provenance import UnitProvenance


class JointTransformer(CausalLM):
    """A decoder-only Transformer that reads units and writes text.

    Attributes:
        units: what made the units that it was trained on; None where nobody said.
    """

    def __init__(
        self,
        frontend: TransformerFrontend,
        decoder: TransformerLMDecoder,
        final_proj: Projection,
        pad_idx: Optional[int],
        max_seq_len: int,
        units: Optional[UnitProvenance] = None,
    ):
        super().__init__(max_seq_len)
        self.decoder_frontend, self.decoder, self.final_proj = frontend, decoder, final_proj
        self.pad_idx, self.units = pad_idx, units

    def forward(
        self,
        seqs: Tensor,
        seqs_layout: BatchLayout,
        targets: Optional[Tensor] = None,
        *,
        state_bag: Optional[IncrementalStateBag] = None,
        features_only: bool = False,
        label_smoothing: float = 0.0,
        target_mask: Optional[Tensor] = None,
        reduction: Any = "sum",
        return_logits: bool = False,
    ) -> Any:
        """`CausalLM`'s; with `features_only`, (B, L) ids to the hidden states (B, L, d) before the last projection."""
        seqs, seqs_layout = self.decoder_frontend(seqs, seqs_layout, state_bag=state_bag)
        features = self.decoder(seqs, seqs_layout, state_bag=state_bag)
        if features_only:
            return features
        logits = self.final_proj(features)
        if targets is None:
            return logits
        loss = cross_entropy(
            logits, targets, self.pad_idx, label_smoothing=label_smoothing, target_mask=target_mask, reduction=reduction
        )
        return (loss, logits) if return_logits else loss


def output_matrix(model: JointTransformer) -> Optional[Tensor]:
    """The matrix (V, d) behind the hidden states; None where it is sharded."""
    weight = model.final_proj.weight
    sharded = isinstance(weight, DTensor) or any("FullySharded" in type(m).__name__ for m in model.modules())
    return None if sharded or getattr(model.final_proj, "bias", None) is not None else weight
