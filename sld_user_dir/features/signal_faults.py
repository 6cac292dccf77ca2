"""Recordings that can be decoded and yet make poor units: clipped, silent, cancelled or of narrow band.

They are counted, not refused: a corpus may be meant to hold some. Each threshold is far from what good speech shows.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from threading import Lock
from typing import Dict, Iterable, Iterator, List

import numpy as np

from sld_user_dir.arrays import FloatArray

logger = logging.getLogger(__name__)

CANCELLED_POWER = 0.01
"""Of the mean of channels, over their own power: n independent ones leave 1/n, opposite polarity nothing."""
FULL_SCALE = 0.999  # 16 bits end at 0.99997, the loudest codes of mu-law and A-law at 0.98
CLIPPED_SHARE = 1e-3  # of the samples, in runs of three: a lone click at full scale is no clipping
SILENT_SHARE = 0.5  # samples that repeat the one before; noise of a single bit repeats as many, and is as empty
NARROW_BAND_HZ = 4400.0  # what was sampled at 8 kHz ends at 4000, its resampler's slope included
NARROW_POWER = 1e-5
"""Above that frequency, of the whole. Nine voices at 16 kHz had 2.8e-4 and more; 294 prompts of 8 kHz, brought to 16
kHz in 16 bits, at most 4e-7 where they peak at a tenth of full scale (docs/units.md)."""
BLOCKS, BLOCK_SAMPLES = 64, 512  # of a recording that its spectrum is taken from

FAULTS = {
    "cancelled": "channels that cancel each other when they are averaged (opposite polarity): keep one of them",
    "clipped": "samples clipped at full scale: look for a quieter copy",
    "silent": "digital silence for half of their length or more: look at what recorded or cut them",
    "narrow": "no energy above 4 kHz at a rate of 16 kHz or more, which is speech of a telephone: an encoder that was "
    "trained on wide-band speech hears it otherwise, MFCC want --sample-rate-hz 8000",
}
"""What is said of recordings that have a fault."""


def signal_faults(samples: FloatArray, rate_hz: int) -> List[str]:
    """Which of FAULTS a recording has, from its samples (n, channels)."""
    found = []
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    if samples.shape[1] > 1 and _power(mono) < CANCELLED_POWER * _power(samples):
        found.append("cancelled")
    full = np.abs(samples) >= FULL_SCALE
    if full.any() and np.count_nonzero(full[2:] & full[1:-1] & full[:-2]) > CLIPPED_SHARE * samples.size:
        found.append("clipped")
    repeats = (samples[1:] == samples[:-1]).all(axis=1)  # in all channels: one may be dead and the other speak
    if np.count_nonzero(repeats) >= SILENT_SHARE * len(samples):
        found.append("silent")
    elif "cancelled" not in found and is_narrow_band(mono, rate_hz):
        found.append("narrow")
    return found


def is_narrow_band(wave: FloatArray, rate_hz: int) -> bool:
    """Whether a waveform (n,) was sampled at 8 kHz, whatever its rate says."""
    if rate_hz < 16_000 or len(wave) < BLOCK_SAMPLES:
        return False
    starts = np.unique(np.linspace(0, len(wave) - BLOCK_SAMPLES, BLOCKS).astype(int))
    blocks = np.stack([wave[start : start + BLOCK_SAMPLES] for start in starts])
    power = np.square(np.abs(np.fft.rfft(blocks * np.hanning(BLOCK_SAMPLES), axis=1))).sum(axis=0)
    power[:2] = 0.0  # an offset is no speech
    first = int(np.ceil(NARROW_BAND_HZ * BLOCK_SAMPLES / rate_hz))
    return bool(power[first:].sum() < NARROW_POWER * power.sum())


def _power(samples: FloatArray) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64))) if samples.size else 0.0


class SilentShare:
    """Whether a stream is digital silence for half of its length or more, told of its blocks one after the other."""

    def __init__(self) -> None:
        self._seen = self._repeats = 0

    def of_blocks(self, blocks: Iterable[FloatArray]) -> Iterator[FloatArray]:
        """The blocks (n,), which are looked at on their way."""
        for block in blocks:
            self._seen += len(block)
            self._repeats += int(np.count_nonzero(block[1:] == block[:-1]))
            yield block

    @property
    def is_silent(self) -> bool:
        """Of what came so far."""
        return self._seen > 0 and self._repeats >= SILENT_SHARE * self._seen


class FaultCounts:
    """How many recordings of a stage have each fault; threads may add to it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.seen = 0
        self.counts: Counter[str] = Counter()
        self._first: Dict[str, Path] = {}

    def add(self, path: Path, samples: FloatArray, rate_hz: int) -> None:
        """Take in a recording's samples (n, channels)."""
        found = signal_faults(samples, rate_hz)
        with self._lock:
            self.seen += 1
            self.counts.update(found)
            for kind in found:
                self._first[kind] = min(path, self._first.get(kind, path))

    def messages(self) -> List[str]:
        """A sentence for each fault that occurs; of narrow band, where most recordings are: single ones may be so."""
        return [
            f"{count} of {self.seen} recordings have {FAULTS[kind]} ({self._first[kind]})"
            for kind in FAULTS
            if (count := self.counts[kind]) and (kind != "narrow" or 2 * count > self.seen)
        ]

    def warn(self) -> None:
        """Log the messages, at the end of a stage."""
        for message in self.messages():
            logger.warning("%s", message)
