"""A training that has made all its updates makes none when it is called again.

fairseq looks at `--max-update` behind an update only: each further call, such as that of a job array after the last
checkpoint was written, made one update more and wrote other checkpoints.
"""

import functools
import logging
import sys
from typing import Any, List, Optional, Tuple

from fairseq import checkpoint_utils

logger = logging.getLogger(__name__)
TRAIN = "fairseq_cli.train"


def install() -> None:
    """Let fairseq-train end so. Repeated calls do nothing."""
    load = checkpoint_utils.load_checkpoint
    if getattr(load, "ends_finished", False):
        return

    @functools.wraps(load)
    def load_checkpoint(cfg: Any, trainer: Any, **kwargs: Any) -> Any:
        _let_end(sys.modules.get(TRAIN))  # which calls this, and may have been imported behind this package
        return load(cfg, trainer, **kwargs)

    load_checkpoint.ends_finished = True  # type: ignore[attr-defined]
    checkpoint_utils.load_checkpoint = load_checkpoint


def _let_end(program: Any) -> None:
    train = getattr(program, "train", None)
    if train is None or getattr(train, "ends_finished", False):
        return

    @functools.wraps(train)
    def train_unless_finished(cfg: Any, trainer: Any, task: Any, epoch_itr: Any) -> Tuple[List[Optional[float]], bool]:
        done, wanted = trainer.get_num_updates(), cfg.optimization.max_update
        if not 0 < wanted <= done:
            result: Tuple[List[Optional[float]], bool] = train(cfg, trainer, task, epoch_itr)
            return result
        logger.info("the training is complete, with %d of %d updates; --max-update lets it go on", done, wanted)
        return [None], True

    train_unless_finished.ends_finished = True  # type: ignore[attr-defined]
    program.train = train_unless_finished
