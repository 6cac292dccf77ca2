"""Checkpoints of fairseq's, loaded by fairseq."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Optional, Tuple, Union

import torch
from fairseq import checkpoint_utils, utils

from sld_user_dir.errors import InputError, reason_of
from sld_user_dir.stored_checkpoint import others, read_stored

NAME_DATA = "name the data directory, where it lies now, by data= of hub.load or --data"
NAME_BASE = (
    "name the pretrained model, where it is now, by hf_model= of hub.load, --hf-model, or "
    "--model-overrides \"{'hf_model': 'DIR'}\""
)


def split_paths(paths: str) -> List[str]:
    """Several paths joined by `:`, as fairseq's `--path` takes them."""
    return list(utils.split_paths(paths))


def load_ensemble(
    paths: List[str], data: Optional[Union[str, Path]] = None, hf_model: Optional[str] = None
) -> Tuple[List[Any], Any, Any]:
    """Models, configuration and task of checkpoints of the task `speech_unit_lm`.

    Args:
        data: data directory with the vocabulary; by default, where it lay in training.
        hf_model: the base of `joint_hf`, a directory or a name on the Hugging Face hub; by default, as in training.

    Raises:
        FileNotFoundError: no such checkpoint.
        InputError: no checkpoint, or one of another task or vocabulary; weights that do not fit its own model, or are
            no numbers; no data directory.
    """
    for path in paths:
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such checkpoint; train one with fairseq-train")
        stored = read_stored(path)  # refuses what is no checkpoint
        if data is None:
            _require_data_of_training(path, stored)
        _require_base(path, stored, hf_model)
    if data is not None and not Path(data).is_dir():
        raise InputError(data, "no such folder", NAME_DATA)
    overrides = {} if data is None else {"data": str(Path(data).resolve())}
    if hf_model is not None:
        overrides["hf_model"] = hf_model
    models: List[Any] = []
    cfg = task = None
    for path in paths:  # one by one, so that errors can name the file
        model, cfg, task = _load_model(path, overrides, task)
        models.append(model)
    if not hasattr(task, "vocab"):
        raise InputError(
            paths[0], f"a checkpoint of the task {type(task).__name__}", "give one of the task speech_unit_lm"
        )
    return models, cfg, task


def _load_model(path: str, overrides: dict[str, Any], task: Any) -> Tuple[Any, Any, Any]:
    """The model of a checkpoint, its configuration, and the task, which is made where there is none yet."""
    try:
        (model,), cfg, task = checkpoint_utils.load_model_ensemble_and_task([path], arg_overrides=overrides, task=task)
    except (RuntimeError, LookupError) as error:
        problem = f"its weights do not fit its own model: {_misfit(path, error)}"
        raise InputError(path, problem, f"restore it from a copy, or give another{others(path)}") from error
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            problem = f"its weight {name} holds NaN or infinity"
            raise InputError(path, problem, f"give one from before its training went wrong{others(path)}")
    return model, cfg, task


def _misfit(path: str, error: BaseException) -> str:
    """The first weight that is at fault, where one can be told; else what fairseq says."""
    weights = read_stored(path).get("model")
    named = weights.items() if isinstance(weights, dict) else ()
    empty = [name for name, weight in named if torch.is_tensor(weight) and not weight.numel()]
    if isinstance(error, IndexError) and empty:
        return f"{empty[0]} holds no number"
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    if len(lines) < 2 or not lines[0].startswith("Error(s) in loading state_dict"):
        return reason_of(error)
    return lines[1].rstrip(".") + (f", and {len(lines) - 2} more" if len(lines) > 2 else "")


def _require_data_of_training(path: str, stored: dict[str, Any]) -> None:
    """Say so where the data directory of a training has moved."""
    config = stored.get("cfg") or {}
    task = config.get("task") if hasattr(config, "get") else None
    lay = getattr(task, "get", lambda _: None)("data")
    if lay and not Path(split_paths(str(lay))[0]).is_dir():
        raise InputError(path, f"the data directory of its training, {lay}, is not there", NAME_DATA)


def _require_base(path: str, stored: dict[str, Any], hf_model: Optional[str]) -> None:
    """Say so where the pretrained model of a training has moved, and where one is named that has no place."""
    config = stored.get("cfg") or {}
    model = config.get("model") if hasattr(config, "get") else None
    lay = getattr(model, "get", lambda _: None)("hf_model")
    if hf_model is not None and not lay:
        raise InputError(path, f"has no pretrained model that {hf_model} could be", "leave hf_model out")
    if hf_model is None and lay and Path(lay).is_absolute() and not Path(lay).is_dir():
        raise InputError(path, f"the pretrained model of its training, {lay}, is not there", NAME_BASE)


def on_device(sample: Any, device: torch.device) -> Any:
    """A collated batch on a device."""
    return utils.move_to_cuda(sample, device) if device.type == "cuda" else sample
