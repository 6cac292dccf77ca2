"""Several utterances in one row, without padding.

A packed batch holds its utterances one behind the other in a single row, and their lengths where an
ordinary batch has those of its rows:

    ordinary    src_tokens (U, L), target (U, L)    src_lengths (U,)
    packed      src_tokens (1, T), target (1, T)    src_lengths (U,), which sum to T

Everything else about the batch stays: its number of sentences, of tokens, the prompts' lengths. The
model gives every utterance positions from 0 and attention to itself alone (`models/packing.py`), the
criteria count utterances, not rows. A batch of one utterance is the same either way.
"""

from typing import Any, Dict

import torch
from torch import Tensor

Sample = Dict[str, Any]


def is_packed(sample: Sample) -> bool:
    """Whether a batch is packed: more lengths than rows."""
    net_input = sample["net_input"]
    lengths = net_input.get("src_lengths")
    return lengths is not None and len(lengths) > len(net_input["src_tokens"])


def pack_batch(sample: Sample, pad: int) -> Sample:
    """The packed form of a labelled, right-padded batch; every (U, L) tensor in it becomes (1, T).

    A position is kept where its input or its target is no padding, so that the criteria see the
    same positions. Rows whose targets are all padding take part in no loss and are left out.
    """
    tokens, target = sample["net_input"]["src_tokens"], sample["target"]
    if target is None:
        raise ValueError("prompts without transcripts can't be packed")
    kept = ((tokens != pad) | (target != pad)) & (target != pad).any(1, keepdim=True)  # (U, L)
    if bool((kept[:, 1:] & ~kept[:, :-1]).any()):
        raise ValueError("padding in front of or inside an utterance: only right-padded rows can be packed")
    lengths = kept.sum(1)

    def packed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: packed(item) for key, item in value.items()}
        if isinstance(value, Tensor) and value.shape == tokens.shape:
            return value[kept][None]  # (1, T)
        return value

    result = packed(sample)
    result["net_input"]["src_lengths"] = lengths[lengths > 0]
    return result


def count_sentences(sample: Sample, real: Tensor) -> Tensor:
    """How many utterances have a target, 0-dim int64; real: (B, L) bool, targets that are no padding."""
    if not is_packed(sample):
        return real.any(1).sum()
    lengths = sample["net_input"]["src_lengths"]
    ends = real.flatten().long().cumsum(0)[lengths.cumsum(0) - 1]  # targets up to the end of each utterance
    return (torch.diff(ends, prepend=ends.new_zeros(1)) > 0).sum()
