"""Checkpoints are read as plain values: no pickled object in them is run, whatever torch is installed.

fairseq leaves that to torch's default, which is to run them before 2.6. Checkpoints of its older architectures
(`lstm_lm`, `fconv_lm`) hold an `argparse.Namespace`, a plain record without code, which is allowed.
"""

import argparse
import logging
import os
from contextlib import contextmanager
from typing import Any, Iterator

import torch

logger = logging.getLogger(__name__)
RUN_PICKLES = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
"""torch's own switch: who sets it to 1 trusts every checkpoint that is read"""
PLAIN_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def allow() -> None:
    """Let torch read a Namespace. Repeated calls do nothing."""
    torch.serialization.add_safe_globals([argparse.Namespace])


@contextmanager
def plain_values_only(path: Any) -> Iterator[None]:
    """While fairseq reads a checkpoint: have torch refuse pickled objects, or say that the user lets it run them."""
    if os.environ.get(RUN_PICKLES, "").lower() in ("1", "y", "yes", "true"):
        logger.warning("%s: its pickled objects, which can run code, are loaded, as %s asks", path, RUN_PICKLES)
        yield
        return
    before = os.environ.get(PLAIN_ONLY)
    os.environ[PLAIN_ONLY] = "1"
    try:
        yield
    finally:
        os.environ.pop(PLAIN_ONLY)
        if before is not None:
            os.environ[PLAIN_ONLY] = before
