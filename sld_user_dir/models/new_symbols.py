"""Where the embeddings of symbols that a pretrained model does not know start from."""

from __future__ import annotations

import torch
from torch import Tensor

from sld_user_dir.errors import InputError

INITIALISATIONS = ("normal", "mean")


def new_rows(text: Tensor, size: int, std: float, initialisation: str, seed: int) -> Tensor:
    """(size, d) rows beside those of the text (symbols, d).

    Args:
        std: of `normal`, N(0, std); `mean` is the mean of the text's rows plus a hundredth of their standard deviation,
            so that new symbols start with moderate logits and yet differ.

    Raises:
        InputError: an unknown initialisation.
    """
    if initialisation not in INITIALISATIONS:
        raise InputError(
            None, f"unknown initialisation {initialisation!r}", f"choose one of {', '.join(INITIALISATIONS)}"
        )
    noise = torch.randn(size, text.size(1), generator=torch.Generator().manual_seed(seed)).to(text.dtype)
    return noise * std if initialisation == "normal" else text.mean(0) + 0.01 * text.std(0) * noise
