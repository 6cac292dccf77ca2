"""A tree of sounds and transcripts as the Debian packages of Asterisk's prompts lay it."""

import gzip
from pathlib import Path
from typing import Sequence

import numpy as np
import soundfile


def make_tree(folder: Path, words: Sequence[str], samples: int = 100) -> Path:
    """A prompt `digits/N` for each word, noise, `samples` + N of them at 8 kHz; and one prompt beside the folder."""
    sounds = folder / "sounds" / "en"
    (sounds / "digits").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with gzip.open(folder / "core-sounds-en.txt.gz", "wt", encoding="utf-8") as out:
        out.write("activated: Activated.\n")
        out.writelines(f"digits/{digit}: {word}\n" for digit, word in enumerate(words))
    for digit in range(len(words)):
        noise = 0.1 * rng.normal(size=samples + digit)
        soundfile.write(sounds / "digits" / f"{digit}.wav", noise, 8000)
    soundfile.write(sounds / "activated.wav", 0.1 * rng.normal(size=samples), 8000)
    return folder
