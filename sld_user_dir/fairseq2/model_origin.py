"""Which vocabulary and units a stored model is of, and whether they are those of the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Union

import yaml

from sld_user_dir.errors import InputError
from sld_user_dir.files import read_text


def stored_config(checkpoints: Path) -> Dict[str, Any]:
    """The configuration of a model, as fairseq2 states it beside its checkpoints.

    Args:
        checkpoints: folder `checkpoints` of a training.

    Raises:
        InputError: it states none of this package's.
    """
    path = checkpoints / "model.yaml"
    for stated in yaml.safe_load_all(read_text(path)):
        for entry in stated if isinstance(stated, list) else [stated]:
            config = _find(entry, "vocabulary")
            if config is not None:
                return config
    raise InputError(path, "it states no model of the family joint_transformer", "give a training of that family")


def _find(stated: Any, key: str) -> Optional[Dict[str, Any]]:
    """The mapping with this key, however deep."""
    if not isinstance(stated, dict):
        return None
    if key in stated:
        return stated
    return next((found for found in (_find(value, key) for value in stated.values()) if found), None)


def refuse_other_origin(
    where: Union[str, Path], vocabulary: Optional[str], units: Optional[Mapping[str, Any]], config: Any
) -> None:
    """What a stored model is of must be what the configuration states of the data; what is not stated is not compared.

    Args:
        where: names the stored model in the error.

    Raises:
        InputError: names both sides.
    """
    pairs = (("vocabulary", vocabulary, config.vocabulary), ("units", dict(units or {}), dict(config.units)))
    for what, there, here in pairs:
        if there and here and there != here:
            problem = f"it was trained with the {what} {there}, but the data has {here}"
            raise InputError(where, problem, "use the data directory it was trained with, or train elsewhere")
