"""A number that modules of fairseq store and never set."""

from __future__ import annotations

from torch import nn

UNSET = "_float_tensor"
"""Of sinusoidal positions (0.12.2), adaptive input and adaptive softmax; only its device and type are asked for."""


def set_unset_buffers(model: nn.Module) -> None:
    """Give those numbers a value, so that equal trainings write equal checkpoints."""
    for name, buffer in model.named_buffers():
        if name.rpartition(".")[2] == UNSET:
            buffer.zero_()
