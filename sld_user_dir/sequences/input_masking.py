"""Hide tokens of the model's input at random in training: the paper's "time masking"."""

from typing import Any, Dict

import torch
from torch import Tensor

from sld_user_dir.vocabulary.joint import JointVocabulary

Sample = Dict[str, Any]


def hide_inputs(sample: Sample, vocab: JointVocabulary, probability: float, speech_only: bool) -> Sample:
    """A new sample in which ``<mask>`` stands for input tokens (B, L), each with this probability; same targets.

    Drawn from torch's generator, which fairseq seeds for every update: a resumed run hides the same
    tokens. In a mixture of tasks no task's token is hidden, and no unit of an answer.

    Args:
        speech_only: hide units only, not text and separators.
    """
    if probability <= 0 or not sample:
        return sample
    tokens = sample["net_input"]["src_tokens"]  # (B, L)
    maskable = tokens >= vocab.unit_offset if speech_only else tokens != vocab.pad
    if "speech_role" in sample:
        maskable &= _maskable_in_mixture(sample, vocab)
    hidden = maskable & (torch.rand(tokens.shape, device=tokens.device) < probability)
    net_input = {**sample["net_input"], "src_tokens": tokens.masked_fill(hidden, vocab.mask)}
    return {**sample, "net_input": net_input}


def _maskable_in_mixture(sample: Sample, vocab: JointVocabulary) -> Tensor:
    tokens = sample["net_input"]["src_tokens"]
    unit = tokens >= vocab.unit_offset
    task_token = (tokens > vocab.separator) & ~unit
    answer = torch.arange(tokens.size(1), device=tokens.device) >= sample["prompt_lengths"][:, None]
    return ~task_token & ~(answer & unit)
