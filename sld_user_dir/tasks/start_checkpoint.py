"""What the checkpoint that a training goes on from remembers of its vocabulary and units.

fairseq hands a checkpoint's `task_state` back to the task for decoding only. Its trainer stores that
state and never reads it (`Trainer.load_checkpoint`), so a resumed or fine-tuned run would mix units
and vocabularies in silence. The task asks here instead, before anything is loaded.
"""

import logging
import pickle
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import torch

from sld_user_dir.errors import InputError, reason_of
from sld_user_dir.stored_checkpoint import refuse_damaged, refuse_other_content

logger = logging.getLogger(__name__)

LAST = "checkpoint_last.pt"


def _stated(cfg: Any, name: str) -> Optional[str]:
    """An option; None where a configuration made by hand leaves `${checkpoint.…}` unresolved."""
    value = getattr(cfg, name, None)
    return None if not value or str(value).startswith("${") else str(value)


def start_of_training(cfg: Any) -> Optional[Path]:
    """The checkpoint that fairseq-train will load first, as `checkpoint_utils.load_checkpoint` chooses it.

    Args:
        cfg: has fairseq's options `save_dir`, `restore_file`, `continue_once`, `finetune_from_model`
            and `checkpoint_suffix`.

    Returns:
        None for a training from scratch, and for what is no file of this machine.
    """
    save_dir, restore = _stated(cfg, "save_dir"), _stated(cfg, "restore_file") or LAST
    suffix = _stated(cfg, "checkpoint_suffix") or ""
    if restore != LAST:
        return _existing(Path(restore.replace(".pt", f"{suffix}.pt")))
    found = None if save_dir is None else _existing(Path(save_dir) / LAST.replace(".pt", f"{suffix}.pt"))
    start = _stated(cfg, "continue_once") or _stated(cfg, "finetune_from_model")
    return found or (None if start is None else _existing(Path(start)))


def _existing(path: Path) -> Optional[Path]:
    """The file, or its first shard where fully sharded training wrote one a rank."""
    shard = path.with_name(f"{path.stem}-shard0.pt")
    return next((p for p in (path, shard) if p.is_file()), None)


def stored_task_state(path: Path) -> Dict[str, Any]:
    """`task_state` of a checkpoint; empty, with a warning, where torch does not read the file.

    The file is mapped: weights and optimizer, which are nearly all of it, stay on disk.

    Raises:
        InputError: it is a file of torch, but no checkpoint.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, ValueError, pickle.UnpicklingError) as error:
        logger.warning("%s: its vocabulary and units are not checked: %s", path, reason_of(error))
        return {}
    refuse_other_content(path, stored, _way_out(path))
    return dict(stored.get("task_state") or {})


def _way_out(path: Path) -> str:
    scratch = ", or move it away to train from scratch" if path.name.startswith(Path(LAST).stem) else ""
    return f"restore it from a copy{scratch}, or go on from another by --restore-file"


def state_to_go_on_from(cfg: Any) -> Tuple[Optional[Path], Dict[str, Any]]:
    """The checkpoint that a training starts from, and the state of our task in it (empty for other tasks).

    Raises:
        InputError: the file is damaged or holds something else; or `--restore-file` is not there, of which fairseq says
            nothing.
    """
    path, restore = start_of_training(cfg), _stated(cfg, "restore_file")
    if path is not None:
        refuse_damaged(path, _way_out(path))
    elif restore not in (None, LAST) and "://" not in str(restore):
        remedy = "check the path, or leave the option out to train from scratch"
        raise InputError(f"--restore-file {restore}", "no such checkpoint", remedy)
    state = {} if path is None else stored_task_state(path)
    return path, state if "vocabulary" in state else {}
