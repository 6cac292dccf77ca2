"""Hide tokens of the model's input at random in training: the paper's "time masking"."""

from __future__ import annotations

from typing import Any, Dict

import torch

from sld_user_dir.compatibility import Conflict
from sld_user_dir.sequences.feature_names import HIDDEN_SEPARATORS, PREFIX_LM
from sld_user_dir.sequences.segments import SPEECH_ANSWER
from sld_user_dir.vocabulary.joint import JointVocabulary

CONFLICTS = (
    Conflict(
        frozenset({HIDDEN_SEPARATORS, PREFIX_LM}),
        "a prefix ends at <sep>, which must not be hidden",
        "use --input-mask-tokens speech",
    ),
)


def hide_inputs(
    sample: Dict[str, Any], vocab: JointVocabulary, probability: float, speech_only: bool
) -> Dict[str, Any]:
    """A new batch in which <mask> stands for input tokens (B, L), each with this probability; same targets.

    Drawn from torch's generator, which fairseq seeds for every update: a resumed run hides the same tokens. No token of
    a task is hidden, and no unit of an answer.

    Args:
        speech_only: hide units only, not text and separators.
    """
    if probability <= 0 or not sample:
        return sample
    tokens = sample["net_input"]["src_tokens"]  # (B, L)
    unit = tokens >= vocab.unit_offset
    task_token = (tokens > vocab.separator) & ~unit
    answer_unit = unit & (sample["segments"] & SPEECH_ANSWER).bool()
    maskable = (unit if speech_only else tokens != vocab.pad) & ~task_token & ~answer_unit
    hidden = maskable & (torch.rand(tokens.shape, device=tokens.device) < probability)
    net_input = {**sample["net_input"], "src_tokens": tokens.masked_fill(hidden, vocab.mask)}
    return {**sample, "net_input": net_input}
