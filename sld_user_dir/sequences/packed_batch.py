"""Several utterances in one row, without padding.

A packed batch holds its utterances one behind the other in a single row, and their lengths where an
ordinary batch has those of its rows:

    ordinary    src_tokens (U, L), target (U, L)    src_lengths (U,)
    packed      src_tokens (1, T), target (1, T)    src_lengths (U,), which sum to T

Everything else about the batch stays: its number of sentences, of tokens, the prompts' lengths. The
model gives every utterance positions from 0 and attention to itself alone (`models/packed_attention.py`), the
criteria count utterances, not rows. A batch of one utterance is the same either way.
"""

from __future__ import annotations

from typing import Any, Dict

from torch import Tensor

from sld_user_dir.compatibility import Conflict
from sld_user_dir.sequences.feature_names import MIXED_LENGTHS, NO_PACKED_ATTENTION, PACKED_ROWS, TASK_TOKENS

Sample = Dict[str, Any]

CONFLICTS = (
    *(
        Conflict(
            frozenset({option, TASK_TOKENS}),
            "for speech recognition alone, not for a mixture",
            f"leave {option} out, or train with a vocabulary without tasks",
        )
        for option in (PACKED_ROWS, MIXED_LENGTHS)
    ),
    Conflict(
        frozenset({PACKED_ROWS, NO_PACKED_ATTENTION}),
        "this model with these options can't keep packed utterances apart",
        "choose a joint_lm architecture without quantisation noise or scaled attention",
    ),
)


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
