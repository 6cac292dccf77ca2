"""Examples to batches: which ones go together, and how they are padded."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sld_user_dir.errors import InputError
from sld_user_dir.sequences.segments import ANSWER


def collate(examples: Sequence[dict[str, Any]], pad: int) -> dict[str, Any]:
    """Right-padded batch of examples, with the names that fairseq's programs use.

    On the right, because padding on the left masks whole attention rows and shifts positions.

    Args:
        examples: `id`, `prompt` (P,) and, where there are targets, `answer` (A,), ids with the end symbol;
            `segment_flags` of the sequence.

    Returns:
        `net_input.src_tokens` (B, L) and `src_lengths` (B,); `target` (B, L) or None; `segments` (B, L), see
        `sequences.segments`; `prompt_lengths` (B,), `id` (B,), `nsentences`, `ntokens`. Nothing for no example.
    """
    if not examples:
        return {}
    prompts = [one["prompt"] for one in examples]
    labelled = "answer" in examples[0]
    rows = [torch.cat([one["prompt"], one["answer"]]) for one in examples] if labelled else prompts
    source = [row[:-1] for row in rows] if labelled else rows
    lengths = torch.tensor([len(row) for row in source])
    prompt_lengths = torch.tensor([len(prompt) for prompt in prompts])
    tokens = pad_sequence(source, batch_first=True, padding_value=pad)  # (B, L)
    target = pad_sequence([row[1:] for row in rows], batch_first=True, padding_value=pad) if labelled else None
    return {
        "id": torch.tensor([one["id"] for one in examples]),
        "nsentences": len(examples),
        "ntokens": int(lengths.sum()),
        "net_input": {"src_tokens": tokens, "src_lengths": lengths},
        "target": target,
        "segments": segments(torch.tensor([one["segment_flags"] for one in examples]), prompt_lengths, tokens.size(1)),
        "prompt_lengths": prompt_lengths,
    }


def segments(flags: Tensor, prompt_lengths: Tensor, length: int) -> Tensor:
    """(B, L) uint8, what the target of each position is: the flags (B,) of its sequence, and whether it is answer."""
    place = torch.arange(1, length + 1)  # of the target in its sequence
    answer = place >= prompt_lengths[:, None]
    return (flags[:, None] + ANSWER * answer).to(torch.uint8)


def batches_by_size(
    indices: np.ndarray,
    sizes: np.ndarray,
    name: Callable[[int], str],
    max_tokens: Optional[int] = None,
    max_sentences: Optional[int] = None,
    multiple: int = 1,
    packed: bool = False,
) -> list[np.ndarray]:
    """Consecutive batches, padded size at most `max_tokens`; every index in exactly one.

    fairseq's own function drops the last batch when its size is no multiple of `--required-batch-size-multiple`; here
    the multiple only rounds full batches down, and packed ones not at all.

    Args:
        indices: in the order that they are batched in.
        sizes: tokens by index.
        name: how to call an index in an error.
        packed: `max_tokens` counts no padding.

    Raises:
        InputError: an example alone exceeds `max_tokens`.
    """
    multiple = 1 if packed else multiple
    batches, start, longest, total = [], 0, 0, 0
    for end, size in enumerate(sizes[indices].tolist()):
        if max_tokens and size > max_tokens:
            raise InputError(
                name(indices[end]),
                f"{size} tokens exceed --max-tokens {max_tokens}",
                f"use at least --max-tokens {size}",
            )
        longest = max(longest, size)
        count, total = end - start, total + size
        too_long = max_tokens and (total if packed else (count + 1) * longest) > max_tokens
        if count and (too_long or (max_sentences and count >= max_sentences)):
            if count > multiple:
                count -= count % multiple
            batches.append(indices[start : start + count])
            start += count
            longest, total = int(sizes[indices[start : end + 1]].max()), size
    if start < len(indices):
        batches.append(indices[start:])
    return batches
