"""Checkpoints that are whole or absent, and one training a folder.

fairseq writes a checkpoint aside and renames it, but copies it to its further names (`checkpoint_last.pt` among them)
byte by byte: a training that is killed then cannot go on. A full disk it tells as torch does, without a file's name.
And two trainings with one `--save-dir` overwrite each other's checkpoints in silence.
"""

import atexit
import functools
import shutil
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from sld_user_dir.errors import InputError
from sld_user_dir.file_locks import held_file
from sld_user_dir.files import atomic_path, naming_output
from sld_user_dir.stored_checkpoint import write_stored

LOCK = ".training.lock"
_trained_here: set[Path] = set()


def install() -> None:
    """Let fairseq write, copy and begin so. Repeated calls do nothing."""
    if getattr(checkpoint_utils.torch_persistent_save, "whole", False):
        return
    save, copy, load = checkpoint_utils.torch_persistent_save, PathManager.copy, checkpoint_utils.load_checkpoint

    @functools.wraps(save)
    def torch_persistent_save(obj: Any, filename: Any, async_write: bool = False) -> Any:
        if async_write or not _is_local(filename):
            return save(obj, filename, async_write)
        return write_stored(filename, obj)

    @functools.wraps(copy)
    def whole_copy(src_path: str, dst_path: str, overwrite: bool = False) -> Any:
        if not (overwrite and _is_local(src_path) and _is_local(dst_path)):
            return copy(src_path, dst_path, overwrite)
        with atomic_path(dst_path) as aside:
            shutil.copyfile(src_path, aside)
        return True

    @functools.wraps(load)
    def load_checkpoint(cfg: Any, trainer: Any, **kwargs: Any) -> Any:
        if trainer.data_parallel_rank == 0 and not cfg.no_save and _is_local(cfg.save_dir):
            hold_save_dir(Path(cfg.save_dir))
        return load(cfg, trainer, **kwargs)

    torch_persistent_save.whole = True  # type: ignore[attr-defined]
    checkpoint_utils.torch_persistent_save = torch_persistent_save
    checkpoint_utils.load_checkpoint = load_checkpoint
    PathManager.copy = staticmethod(whole_copy)


def hold_save_dir(save_dir: Path) -> None:
    """Be the only training that writes to a folder, until this process ends.

    Raises:
        InputError: another one is at work there, or it cannot be written to.
    """
    lock = save_dir.resolve() / LOCK
    if lock in _trained_here:
        return
    with naming_output(lock):
        held = held_file(lock, wait=False)
    if held is None:
        remedy = "wait until it has ended, or give this one another --save-dir"
        raise InputError(f"--save-dir {save_dir}", "another training writes its checkpoints there", remedy)
    _trained_here.add(lock)
    atexit.register(lock.unlink, missing_ok=True)


def _is_local(path: Any) -> bool:
    return isinstance(path, (str, Path)) and "://" not in str(path)
