"""How surprising each unit of a prompt is to the model that reads it: -log2 of its probability among all units."""

from __future__ import annotations

import math
from typing import Optional, Sequence

import torch

from sld_user_dir.search.ctc_reading import at_least_float32
from sld_user_dir.search.decoders import Decoder
from sld_user_dir.vocabulary.joint import JointVocabulary


@torch.no_grad()
def unit_surprise(decoders: Sequence[Decoder], vocab: JointVocabulary, prompt: torch.Tensor) -> list[Optional[float]]:
    """Bits of each unit (N,); None where nothing comes before a unit. Of several models, of the mean probability.

    Args:
        prompt: (P,) ids of one prompt; its units follow each other.
    """
    end = vocab.unit_offset + vocab.num_units
    (places,) = ((prompt >= vocab.unit_offset) & (prompt < end)).nonzero(as_tuple=True)
    each = []
    for decoder in decoders:
        session = decoder.start(prompt[None], torch.tensor([len(prompt)], device=prompt.device), 1, None, True)
        assert session.prompt_logits is not None
        logits = at_least_float32(session.prompt_logits)[0, :, vocab.unit_offset : end]  # (P, U)
        each.append(logits.log_softmax(-1))
    log_probs = torch.stack(each).logsumexp(0) - math.log(len(each))
    told = places[places > 0]
    bits = -log_probs[told - 1, prompt[told] - vocab.unit_offset] / math.log(2)
    unknown: list[Optional[float]] = [None] * (len(places) - len(told))
    return unknown + bits.tolist()
