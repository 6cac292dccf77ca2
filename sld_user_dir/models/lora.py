"""Low-rank adapters (LoRA, arXiv 2106.09685) in a pretrained backbone, by peft."""

from __future__ import annotations

import math
from typing import Optional

from torch import nn

from sld_user_dir.errors import InputError, check_probability

ALL_LINEAR = "all-linear"


def add_adapters(backbone: nn.Module, rank: int, alpha: Optional[float], targets: str, dropout: float) -> None:
    """Freeze a model, and put trained adapters into some of its linear layers.

    Args:
        rank: of the adapters.
        alpha: the adapters' product is multiplied by alpha / rank; by default twice the rank.
        targets: names of layers such as `q_proj,v_proj`, or `all-linear`.
        dropout: of the adapters' inputs.

    Raises:
        InputError: no peft, a rank below 1 or another number that makes no adapters, or a layer that the model does
            not have.
    """
    if rank < 1:
        raise InputError(f"--lora-rank {rank}", "a rank below 1", "choose 1 or more, or 0 for no adapters")
    check_probability("--lora-dropout", dropout)
    if alpha is not None and not math.isfinite(alpha):
        raise InputError(f"--lora-alpha {alpha}", "no scale of adapters", "leave it out for twice the rank")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError("--lora-rank", f"peft does not import ({error})", "pip install peft") from error

    linear = {name.rpartition(".")[2]: module for name, module in backbone.named_modules() if _is_linear(module)}
    names = sorted(linear) if targets == ALL_LINEAR else [name.strip() for name in targets.split(",")]
    unknown = [name for name in names if name not in linear]
    if unknown:
        raise InputError(
            f"--lora-targets {targets}",
            f"{type(backbone).__name__} has no linear layer {unknown[0]!r}",
            f"choose among {', '.join(sorted(linear))}, or {ALL_LINEAR}",
        )
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,  # type: ignore[arg-type]
        target_modules=names,
        lora_dropout=dropout,
        fan_in_fan_out=not isinstance(linear[names[0]], nn.Linear),  # GPT-2's matrices are kept transposed
    )
    inject_adapter_in_model(config, backbone)


def _is_linear(module: nn.Module) -> bool:
    return type(module) is nn.Linear or type(module).__name__ == "Conv1D"
