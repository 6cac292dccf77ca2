"""Checkpoints of fairseq's older architectures (`lstm_lm`, `fconv_lm`), read by torch 2.6 and later.

They hold an `argparse.Namespace`, a plain record without code, which `torch.load(weights_only=True)` refuses otherwise.
"""

import argparse

import torch


def allow() -> None:
    """Let torch read a Namespace. Repeated calls do nothing."""
    torch.serialization.add_safe_globals([argparse.Namespace])
