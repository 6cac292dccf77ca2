"""Connected digits from the Free Spoken Digit Dataset (FSDD).

Recordings of one speaker, joined in random order to strings of 1 to 7 digits:
a corpus with word order that two CPU cores can train on. FSDD's own split is
kept (index 0-4 is test), and no recording is in two sets:

====================  ===========================================================
`train`             speakers heard in training, index 8-49, at three speeds
`valid`             the same speakers, index 5-7
`test`              the same speakers, index 0-4: FSDD's official test split
`test_unseen`       every recording of the speaker that training never hears
====================  ===========================================================

`train_warped` is the training set again, its speakers' vocal tracts warped (`as_other_voices`), for features that
carry the voice beside the words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
import soundfile

from sld_user_dir.errors import InputError
from sld_user_dir.features.waveform import read_audio
from sld_user_dir.manifests.audio_manifest import Recording, with_speeds, with_warps, write_audio_manifest

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SAMPLE_RATE_HZ = 8000
WARPED = "train_warped"
UNSEEN_SPEAKER = "yweweler"  # the last in the alphabet, chosen before any result
LICENSE = "CC BY-SA 4.0"
ATTRIBUTION = (
    "Units of the Free Spoken Digit Dataset by Zohar Jackson et al., "
    "github.com/Jakobovski/free-spoken-digit-dataset; recordings joined to strings"
)
_NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.(wav|flac)$")


@dataclass(frozen=True)
class Digit:
    """One FSDD recording."""

    digit: int
    speaker: str
    index: int
    path: Path

    @property
    def subset(self) -> str:
        """Which set it belongs to."""
        if self.speaker == UNSEEN_SPEAKER:
            return "test_unseen"
        return "test" if self.index < 5 else "valid" if self.index < 8 else "train"


@dataclass(frozen=True)
class SubsetSize:
    """How many strings of a set, and at which speeds."""

    strings: int
    speeds: Sequence[float] = (1.0,)


def find_digits(folder: Path) -> list[Digit]:
    """Recordings `{digit}_{speaker}_{index}` of a folder, in a fixed order.

    Raises:
        InputError: there are none.
    """
    found = [(_NAME.search(p.name), p) for p in sorted(folder.rglob("*"))]
    digits = [Digit(int(m[1]), m[2], int(m[3]), p) for m, p in found if m]
    if not digits:
        raise InputError(
            folder,
            "no recordings named like 7_george_12.wav",
            "get them from github.com/Jakobovski/free-spoken-digit-dataset",
        )
    return sorted(digits, key=lambda d: (d.speaker, d.digit, d.index))


def draw_strings(
    digits: Sequence[Digit], count: int, rng: np.random.Generator, longest: int = 7
) -> Iterator[list[Digit]]:
    """`count` strings of 1 … `longest` recordings, speakers in turn.

    Every recording of a speaker is used once before any is used again.
    """
    by_speaker: dict[str, list[Digit]] = {}
    for digit in digits:
        by_speaker.setdefault(digit.speaker, []).append(digit)
    waiting: dict[str, list[Digit]] = {speaker: [] for speaker in by_speaker}
    speakers = sorted(by_speaker)
    for i in range(count):
        speaker = speakers[i % len(speakers)]
        string = []
        for _ in range(rng.integers(1, longest + 1)):
            if not waiting[speaker]:
                pool = by_speaker[speaker]
                waiting[speaker] = [pool[j] for j in rng.permutation(len(pool))]
            string.append(waiting[speaker].pop())
        yield string


def write_strings(digits: Sequence[Digit], sizes: dict[str, SubsetSize], out: Path, seed: int = 1) -> dict[str, Path]:
    """Join recordings to strings and write them with one audio manifest a set.

    Returns:
        Audio manifest of each set, `out/<set>.audio.tsv`; audio is below `out/<set>/`.
    """
    waves = {d: _read(d.path) for d in digits}
    manifests = {}
    for number, (subset, size) in enumerate(sizes.items()):
        rng = np.random.default_rng([seed, number])
        pool = [d for d in digits if d.subset == subset]
        recordings = []
        (out / subset).mkdir(parents=True, exist_ok=True)
        for i, string in enumerate(draw_strings(pool, size.strings, rng)):
            path = out / subset / f"{subset}-{i:05d}-{string[0].speaker}.wav"
            joined = join_digits(path, string, [waves[d] for d in string], " ".join(d.path.stem for d in string))
            speed = float(size.speeds[int(rng.integers(len(size.speeds)))])
            recordings.append(replace(joined, speed=speed))
        manifests[subset] = out / f"{subset}.audio.tsv"
        write_audio_manifest(manifests[subset], recordings, out)
    return manifests


def as_other_voices(recordings: Sequence[Recording], warps: Sequence[float], seed: int = 1) -> list[Recording]:
    """Each recording once, at its speed and with its speaker's vocal tract warped by one of the factors, drawn for it.

    What differs in speed or warp is another voice, by name too, so that it is normalised by itself.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(warps), size=len(recordings))
    return [
        with_warps(with_speeds([one], [one.speed]), [float(warps[int(number)])])[0]
        for one, number in zip(recordings, drawn)
    ]


def join_digits(path: Path, string: Sequence[Digit], waves: Sequence[np.ndarray], source: str) -> Recording:
    """Write recordings of one speaker, one after the other, as 16-bit WAV.

    Args:
        path: file to write; its stem becomes the id.
        waves: of each recording, (n_samples,) at `SAMPLE_RATE_HZ`.
        source: names the recordings, for the manifest's column `digits`.
    """
    wave = np.concatenate(waves)
    soundfile.write(path, wave, SAMPLE_RATE_HZ, subtype="PCM_16")
    text = " ".join(WORDS[one.digit] for one in string)
    fields = {"digits": source}
    return Recording(path.stem, path.resolve(), len(wave), SAMPLE_RATE_HZ, text, string[0].speaker, fields=fields)


def _read(path: Path) -> np.ndarray:
    wave, rate = read_audio(path)
    if rate != SAMPLE_RATE_HZ:
        raise InputError(path, f"{rate} Hz", f"take FSDD's own, {SAMPLE_RATE_HZ} Hz")
    return wave
