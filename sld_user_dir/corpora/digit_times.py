"""When each word of a connected-digits string was said: the recordings that were joined tell."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

from sld_user_dir.corpora.connected_digits import SAMPLE_RATE_HZ, WORDS, find_digits
from sld_user_dir.errors import InputError, line_of
from sld_user_dir.features.waveform import probe
from sld_user_dir.manifests.ctm import TimedWord
from sld_user_dir.manifests.unit_manifest import UtteranceTable


def true_word_times(manifest: UtteranceTable, folder: Path) -> Iterator[tuple[str, list[TimedWord]]]:
    """Of each string its name and the times of its words, each as long as its recording, pauses in it included.

    Args:
        manifest: with the columns `digits`, names of the joined recordings, and `n_samples`.
        folder: of FSDD's recordings.

    Raises:
        InputError: a recording that is not in the folder, or of another length than was joined.
    """
    samples = {one.path.stem: probe(one.path).n_samples for one in find_digits(folder)}
    for row, utterance in enumerate(manifest):
        where = line_of(manifest.path, manifest.line(row))
        names = utterance.fields.get("digits", "").split()
        missing = [name for name in names if name not in samples]
        if missing or not names:
            problem = f"{folder} has no recording {missing[0]}" if missing else "it names no recordings of digits"
            raise InputError(where, problem, "give FSDD's recordings and a manifest made of them")
        if sum(samples[name] for name in names) != int(utterance.fields["n_samples"]):
            raise InputError(where, f"its recordings in {folder} are of another length", "take the same recordings")
        words, start = [], 0
        for name in names:
            end = start + samples[name]
            word = WORDS[int(name[0])]
            words.append(TimedWord(word, start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ))
            start = end
        yield utterance.id, words
