"""How `sld transcribe` cuts long recordings: recordings of a folder joined with pauses, cut, and decoded.

    python benchmarks/pauses.py RECORDINGS
    python benchmarks/pauses.py RECORDINGS --checkpoint checkpoint_best.pt --data manifests/digits

For each way to find pauses, and each margin of silence: segments, the share of the audio that is kept, the longest
segment, and seconds of cutting. With a model, word errors of the joined recording, beside those of its parts one by
one.
"""

from __future__ import annotations

import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Optional, Sequence

import numpy as np
import soundfile
from simple_parsing import ArgumentParser, DashVariant, field

from sld_user_dir import hub
from sld_user_dir.errors import InputError
from sld_user_dir.features.waveform import load_audio
from sld_user_dir.longform.cutting import DETECTORS, CutOptions, cut_recording
from sld_user_dir.manifests.audio_manifest import Recording
from sld_user_dir.pipeline.audio_scan import list_recordings
from sld_user_dir.scoring.edits import error_counts

BACKGROUND = 5e-4  # of full scale: the noise in the pauses


@dataclass
class PausesConfig:
    """What to join and how."""

    root: Path = field(positional=True, metavar="RECORDINGS")  # noqa: RUF009
    """folder of recordings; their transcripts are found as sld audio finds them"""
    pattern: Optional[str] = None
    """transcripts and speakers by file name, as sld audio --pattern"""
    count: int = 100
    """recordings to join, drawn at random"""
    pause_seconds: float = 0.8
    """length of a pause"""
    pause_after: float = 1.0
    """share of the recordings that a pause follows"""
    max_segment_seconds: float = 20.0
    """longest segment, without a model; with one, what it holds"""
    margins: List[float] = field(default_factory=lambda: [0.03, 0.1, 0.2])  # noqa: RUF009
    """seconds of silence at the edges of segments"""
    sample_rate_hz: int = 16000
    """of the joined recording"""
    checkpoint: Optional[str] = None
    """model that decodes it"""
    data: Optional[Path] = None
    """its data directory"""
    seed: int = 0
    """decides which recordings, and where pauses are"""


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Print a line for each way to cut."""
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(PausesConfig, dest="config")
    config: PausesConfig = parser.parse_args(argv).config
    chosen = list_recordings(config.root, pattern=config.pattern, lowercase=True)
    random.Random(config.seed).shuffle(chosen)
    chosen = chosen[: config.count]
    wave = joined(chosen, config)
    rate = config.sample_rate_hz
    print(f"{len(chosen)} recordings, {len(wave) / rate:.1f} s")
    model = hub.load(config.checkpoint, config.data, device="cpu") if config.checkpoint else None
    if model is not None:
        texts = [model.transcribe_long(one.path).text for one in chosen]
        print(f"one by one: WER {word_errors([one.text for one in chosen], texts):.1f} %")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "joined.wav"
        soundfile.write(path, wave, rate, subtype="FLOAT")
        for pauses in DETECTORS:
            for margin in config.margins if pauses != "none" else config.margins[:1]:
                try:
                    print(
                        line(config, wave, path, CutOptions(pauses, margin_seconds=margin), model, chosen), flush=True
                    )
                except InputError as error:  # the detector's package is not installed
                    print(f"{pauses}: {error}")
                    break


def joined(recordings: List[Recording], config: PausesConfig) -> Any:
    """One waveform (n_samples,) of all, with faint noise in the pauses."""
    rng = np.random.default_rng(config.seed)
    pieces = []
    for one in recordings:
        pieces.append(load_audio(one.path, config.sample_rate_hz))
        if rng.random() < config.pause_after:
            pieces.append(BACKGROUND * rng.standard_normal(int(config.pause_seconds * config.sample_rate_hz)))
    return np.concatenate(pieces).astype(np.float32)


def line(
    config: PausesConfig, wave: Any, path: Path, options: CutOptions, model: Any, recordings: List[Recording]
) -> str:
    """What becomes of the joined recording."""
    rate = config.sample_rate_hz
    start = time.perf_counter()
    cut = cut_recording(wave, rate, int(config.max_segment_seconds * rate), options)
    seconds = time.perf_counter() - start
    spans = [(one.start / rate, one.end / rate) for one in cut]
    ending = ""
    if model is not None:
        found = model.transcribe_long(path, pauses=options.pauses, margin_seconds=options.margin_seconds)
        spans = [(one.start_seconds, one.end_seconds) for one in found.segments]
        ending = f", WER {word_errors([' '.join(one.text for one in recordings)], [found.text]):.1f} %"
    lengths = [end - begin for begin, end in spans] or [0.0]
    kept = 100 * sum(lengths) * rate / len(wave)
    return (
        f"{options.pauses}, margin {options.margin_seconds:g} s: {len(spans)} segments, {kept:.1f} % kept, "
        f"longest {max(lengths):.1f} s, cut in {seconds:.2f} s{ending}"
    )


def word_errors(references: List[str], hypotheses: List[str]) -> float:
    """WER in %."""
    edits = [error_counts(r.split(), h.split()) for r, h in zip(references, hypotheses)]
    return 100 * sum(one.errors for one in edits) / sum(len(r.split()) for r in references)


if __name__ == "__main__":
    main()
