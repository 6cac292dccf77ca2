"""Blocks of samples as they come: of a pipe with raw 16-bit samples, or of a recording that is played as if live."""

from __future__ import annotations

import time
from typing import BinaryIO, Iterable, Iterator

import numpy as np

from sld_user_dir.arrays import FloatArray
from sld_user_dir.errors import InputError
from sld_user_dir.features.resampling import BlockResampler

BYTES_A_SAMPLE = 2
FULL_SCALE = 32768.0


def pcm_blocks(stream: BinaryIO, from_hz: int, to_hz: int, block_seconds: float = 0.1) -> Iterator[FloatArray]:
    """Mono samples of a pipe, 16 bits each, the low byte first, at another rate.

    Args:
        stream: with `read1`, so that what is there is not kept waiting for what is not.

    Raises:
        InputError: no rate, or half a sample at the end.
    """
    if from_hz < 1:
        raise InputError(f"--rate {from_hz}", "no sample rate", "take that of the pipe, such as 16000")
    resampler = BlockResampler(from_hz, to_hz)
    size, rest = max(1, int(block_seconds * from_hz)) * BYTES_A_SAMPLE, b""
    while True:
        read = stream.read1(size)  # type: ignore[attr-defined]  # buffered readers have it
        whole = len(rest + read) // BYTES_A_SAMPLE * BYTES_A_SAMPLE
        samples, rest = (rest + read)[:whole], (rest + read)[whole:]
        block = np.frombuffer(samples, dtype="<i2").astype(np.float32) / np.float32(FULL_SCALE)
        if len(block):
            yield resampler(block)
        if not read:
            break
    if rest:
        raise InputError("standard input", "ends in half a sample", "send 16-bit samples, low byte first")
    yield resampler.rest()


def paced(blocks: Iterable[FloatArray], rate_hz: int, pace: float) -> Iterator[FloatArray]:
    """Blocks, each when its end would have been spoken, `pace` times as fast; at once where that is 0."""
    begun, n_samples = time.monotonic(), 0
    for block in blocks:
        n_samples += len(block)
        if pace:
            time.sleep(max(0.0, begun + n_samples / rate_hz / pace - time.monotonic()))
        yield block
