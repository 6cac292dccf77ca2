"""Digits by hundreds of voices, from Google's Speech Commands: a test of speakers and microphones never heard.

Recordings stand as `WORD/SPEAKER_nohash_TAKE.wav`, one second each, made by volunteers with their own devices. Those
of digits are joined, speaker by speaker, to strings of 1 to 5; every recording is used once. They are brought to the
rate of the other connected digits first, so that what a test hears is another voice and room, not another band.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np

from sld_user_dir.corpora.connected_digits import SAMPLE_RATE_HZ, WORDS, Digit, join_digits
from sld_user_dir.errors import InputError
from sld_user_dir.features.waveform import load_audio
from sld_user_dir.manifests.audio_manifest import write_audio_manifest

SUBSET = "test_voices"
LICENSE = "CC BY 4.0"
ATTRIBUTION = "Units of Speech Commands by Pete Warden, Google (arXiv 1804.03209); recordings joined to strings"
_NAME = re.compile(r"([0-9a-f]+)_nohash_(\d+)\.wav$")


def find_commands(folder: Path) -> list[Digit]:
    """Recordings of digits below a folder, in a fixed order; other words are passed over.

    Raises:
        InputError: there are none.
    """
    named = [(_NAME.match(path.name), path) for path in sorted(folder.rglob("*.wav")) if path.parent.name in WORDS]
    found = [Digit(WORDS.index(path.parent.name), m[1], int(m[2]), path) for m, path in named if m]
    if not found:
        problem = "no recordings of digits named like five/00176480_nohash_0.wav"
        raise InputError(folder, problem, "unpack Speech Commands there, a folder for each word")
    return sorted(found, key=lambda one: (one.speaker, one.digit, one.index))


def draw_once(commands: Sequence[Digit], rng: np.random.Generator, longest: int = 5) -> Iterator[list[Digit]]:
    """Strings of 1 to `longest` recordings of one speaker, until each recording has been used once."""
    by_speaker: dict[str, list[Digit]] = {}
    for one in commands:
        by_speaker.setdefault(one.speaker, []).append(one)
    for speaker in sorted(by_speaker):
        pool = by_speaker[speaker]
        waiting = [pool[place] for place in rng.permutation(len(pool))]
        while waiting:
            length = int(rng.integers(1, longest + 1))
            string, waiting = waiting[:length], waiting[length:]
            yield string


def write_voices(commands: Sequence[Digit], out: Path, seed: int = 1) -> Path:
    """Join recordings to strings and write them with their audio manifest.

    Returns:
        `out/test_voices.audio.tsv`; audio is below `out/test_voices/`.
    """
    (out / SUBSET).mkdir(parents=True, exist_ok=True)
    recordings = [
        join_digits(
            out / SUBSET / f"{SUBSET}-{number:05d}-{string[0].speaker}.wav",
            string,
            [load_audio(one.path, SAMPLE_RATE_HZ) for one in string],
            " ".join(f"{one.path.parent.name}/{one.path.stem}" for one in string),
        )
        for number, string in enumerate(draw_once(commands, np.random.default_rng(seed)))
    ]
    manifest = out / f"{SUBSET}.audio.tsv"
    write_audio_manifest(manifest, recordings, out)
    return manifest
