"""Denominators that are exact over workers and over `--update-freq`.

Every component of the loss is a mean with a denominator of its own (text tokens, speech tokens,
sentences), and fairseq's single `sample_size` can't carry three. So the denominators of a whole
update are known before its first forward pass: this worker's part from
`sample["update_counts"]` (see `sld_user_dir/tasks/update_counts.py`), the sum over workers by one
all-reduce of a few integers. Each batch returns its share of the finished loss, and sample sizes
that sum to 1, by which fairseq's own division changes nothing.
"""

from typing import Any, Dict, Optional, Tuple

import torch
import torch.distributed as dist
from fairseq.distributed import utils as distributed_utils
from torch import Tensor

from sld_user_dir.losses.objective import Objective
from sld_user_dir.losses.positions import Layout, Segments
from sld_user_dir.losses.statistics import Denominators
from sld_user_dir.sequences.packed_batch import count_sentences
from sld_user_dir.vocabulary.joint import SpeechRole

TEXT, UNITS, SEPARATORS, POSITIONS, SENTENCES, PROMPT_TEXT, ANSWERS = range(7)


def segments(sample: Dict[str, Any]) -> Optional[Segments]:
    """What a mixture's sequences are made of; None for speech recognition alone."""
    if "speech_role" not in sample:
        return None
    target = sample["target"]
    place = torch.arange(1, target.size(1) + 1, device=target.device)  # of the target in its sequence
    role = sample["speech_role"][:, None].expand_as(target)
    return Segments(
        answer=place >= sample["prompt_lengths"][:, None],
        speech_prompt=role == SpeechRole.PROMPT,
        speech_target=role == SpeechRole.TARGET,
    )


def count_targets(sample: Dict[str, Any], layout: Layout) -> Tensor:
    """(5,) int64: targets that are text, units, separators; live positions; sentences.

    A live position has an input or a target that is no padding. A sentence is an
    utterance with a target: a row, or in a packed batch a part of one. Of a mixture of tasks (7,):
    units, positions and sentences are those of sequences whose prompt is speech, text that of
    answers; further text in prompts, and answers in speech.
    """
    target, src_tokens = sample["target"], sample["net_input"]["src_tokens"]
    real = target != layout.pad
    units = target >= layout.unit_offset
    separators = target == layout.separator
    live = real | ((src_tokens != layout.pad) & real.any(1, keepdim=True))
    text = real & ~units & ~separators
    parts = segments(sample)
    if parts is None:
        counts = [mask.sum() for mask in (text, units, separators, live)]
        return torch.stack([*counts, count_sentences(sample, real)])
    spoken, answers = parts.speech_prompt, real & parts.answer & parts.speech_target
    text &= target < layout.separator  # no token of a task
    masks = (
        text & parts.answer & ~answers, units & spoken, separators, live & spoken, real.any(1) & spoken.any(1),
        text & ~parts.answer, answers,
    )  # fmt: skip
    return torch.stack([mask.sum() for mask in masks])


def update_counts(sample: Dict[str, Any], own: Tensor, training: bool) -> Tuple[Tensor, float]:
    """The counts of the whole update, int64 of `count_targets`' shape, and this batch's share as a sample size.

    In evaluation, the batch by itself; nothing is communicated. In training every worker must
    call this equally often. Without `sample["update_counts"]` each batch is normalised by itself,
    and `--update-freq` averages the batches' losses.

    Args:
        own: what `count_targets` says of this batch.
    """
    annotation = sample.get("update_counts") if training else None
    if annotation is None:
        totals, batches = own, 1
    else:
        totals, batches = annotation["totals"].to(sample["target"].device), annotation["batches"]
    workers = 1
    if training and dist.is_available() and dist.is_initialized():
        group = distributed_utils.get_data_parallel_group()
        workers = distributed_utils.get_world_size(group)
        totals = totals.clone()
        distributed_utils.all_reduce(totals, group=group)
    return totals, 1 / (workers * batches)


def denominators(counts: Tensor, objective: Objective) -> Denominators:
    """What `objective` divides each component by, from the counts of an update."""
    kl = counts[SENTENCES] if objective.kl_denominator == "sentence" else kl_tokens(counts, objective)
    speech = counts[UNITS] + counts[SEPARATORS] if objective.official else counts[UNITS]
    if len(counts) <= ANSWERS:
        return Denominators(counts[TEXT], speech, kl, counts.new_zeros(()))
    text = counts[TEXT] + counts[PROMPT_TEXT] if objective.prompt_text else counts[TEXT]
    return Denominators(text, speech, kl, counts[ANSWERS])


def kl_tokens(counts: Tensor, objective: Objective) -> Tensor:
    """The number of positions that the KL is summed over."""
    return counts[POSITIONS] if objective.official else counts[UNITS]
