"""Checkpoints that are damaged, named as such wherever fairseq reads one.

fairseq-generate, -interactive, -validate and -eval-lm read the checkpoint before a task of ours has a say, and pass on
what torch says of a file that is cut off or a Git LFS pointer, which names no file.
"""

import functools
import os
from typing import Any

from fairseq import checkpoint_utils

from sld_user_dir.errors import InputError
from sld_user_dir.fairseq_patches.plain_checkpoints import plain_values_only
from sld_user_dir.stored_checkpoint import READ_ERRORS, refuse_damaged, unreadable


def install() -> None:
    """Check a file before fairseq reads it. Repeated calls do nothing."""
    original = checkpoint_utils.load_checkpoint_to_cpu
    if getattr(original, "names_damage", False):
        return

    @functools.wraps(original)
    def load_checkpoint_to_cpu(path: Any, *args: Any, **kwargs: Any) -> Any:
        if not os.path.isfile(path):  # of another file system, or for fairseq to miss
            return original(path, *args, **kwargs)
        refuse_damaged(path, "restore it from a copy, or give another")
        try:
            with plain_values_only(path):
                return original(path, *args, **kwargs)
        except InputError:
            raise
        except READ_ERRORS as error:
            raise unreadable(path, error) from error

    load_checkpoint_to_cpu.names_damage = True  # type: ignore[attr-defined]
    checkpoint_utils.load_checkpoint_to_cpu = load_checkpoint_to_cpu
