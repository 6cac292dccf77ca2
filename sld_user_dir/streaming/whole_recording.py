"""Which encoders see the whole recording, so that units of its beginning change while it goes on."""

from __future__ import annotations

import re

_TRAITS = (
    (re.compile(r"\+cmvn-"), "its frames are normalised over the whole recording"),
    (re.compile(r":wavenorm"), "its waveform is normalised over the whole recording"),
    (re.compile(r"^whisper@"), "the peak of its spectrogram is that of the whole recording"),
    (re.compile(r":chunk"), "its attention sees what comes later"),
)


def what_needs_the_whole(encoder: str) -> list[str]:
    """What in an encoder, named as a provenance names it, looks beyond a moment; an empty list where nothing does."""
    return [why for pattern, why in _TRAITS if pattern.search(encoder)]
