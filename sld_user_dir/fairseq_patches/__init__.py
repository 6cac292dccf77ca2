"""What is mended in fairseq, and in torch for its sake, each with its reason. `apply` is called where fairseq is used.

This package overrides fairseq's methods in its own classes wherever that is enough. What stands here has no class of
ours to stand in: it happens before one is chosen, or within a loader of fairseq's.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import Iterator

_SILENCED = (
    # fairseq's data loader asks for pinned memory on machines without a GPU, too
    ("'pin_memory' argument is set as true", UserWarning),
    # its wav2vec 2.0 modules call what newer torch renames
    ("`torch.nn.utils.weight_norm` is deprecated", FutureWarning),
    ("`torch.jit.script` is deprecated", Warning),  # a FutureWarning since torch 2.14, so shown
    # its training step does, too
    (r"`torch\.cuda\.amp\.", FutureWarning),
)


def apply() -> None:
    """Apply all patches; repeated calls do nothing. fairseq must be imported."""
    from sld_user_dir.fairseq_patches import (
        damaged_checkpoints,
        finished_training,
        help_options,
        plain_checkpoints,
        whole_checkpoints,
    )

    help_options.install()
    damaged_checkpoints.install()
    plain_checkpoints.allow()
    whole_checkpoints.install()
    finished_training.install()
    silence()


def silence() -> None:
    """Ignore what torch warns of in fairseq, at its import and later."""
    for message, category in _SILENCED:
        warnings.filterwarnings("ignore", message=message, category=category)


@contextmanager
def root_logger_level() -> Iterator[None]:
    """Keep the root logger's level: importing fairseq sets it to DEBUG, for everybody in the process."""
    root = logging.getLogger()
    level = root.level
    try:
        yield
    finally:
        root.setLevel(level)
