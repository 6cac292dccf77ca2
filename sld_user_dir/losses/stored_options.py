"""What a checkpoint's stored options say of its objective."""

from __future__ import annotations

from typing import Any


def predicts_units(criterion: Any) -> bool:
    """Whether a training taught the model to predict units at all (`masked_ce` does not).

    Args:
        criterion: the configuration of the criterion that a checkpoint stores; a mapping.
    """
    stored = {key: criterion[key] for key in criterion or {}}
    if stored.get("_name") == "masked_ce":
        return False
    if stored.get("speech_weight_end"):
        return True
    return stored.get("speech_weight") != 0 or stored.get("kl_weight") != 0
