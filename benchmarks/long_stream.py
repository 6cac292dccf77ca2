"""A stream of minutes: word errors against offline decoding, lag, and whether cost or memory grow.

    python benchmarks/long_stream.py checkpoint_best.pt LibriSpeech/test-clean --features whisper-tiny.en

The utterances of one chapter, as its reader spoke them, are joined to one recording, which is heard as `sld listen`
hears a file. Lag: from a word's end to when it settled for good, of words that are right in the final text. Where words
end is told by the model's own alignment of the transcript, an utterance at a time. Offline are `sld transcribe` of the
same recording, and of its utterances one by one. Computing is seconds of one core, encoder and all, a second of speech:
by the minute of the recording, and by how long the segment has become. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import soundfile
from simple_parsing import ArgumentParser, DashVariant, field

from sld_user_dir import hub
from sld_user_dir.features.waveform import audio_blocks, load_audio
from sld_user_dir.manifests.unit_manifest import Utterance, read_manifest
from sld_user_dir.scoring.alignment import align
from sld_user_dir.scoring.edits import edit_distance
from sld_user_dir.streaming.heard_audio import ListenOptions
from sld_user_dir.timing.unit_times import unit_edges


@dataclass
class LongStreamBenchmark:
    """What to hear, and how."""

    checkpoint: Path = field(positional=True)  # noqa: RUF009
    """trained on units with durations"""
    recordings: Path = field(positional=True)  # noqa: RUF009
    """folder of LibriSpeech's test-clean, or what holds SPEAKER/CHAPTER/ID.flac"""
    data: Path = Path("manifests/librispeech-mini/whisper")
    """data directory of the training"""
    test_set: str = "test"
    """manifest of the utterances"""
    chapter: str = "7021/85628"
    """what their ids begin with"""
    features: Optional[str] = None
    """where the encoder lies, if not where it lay when the k-means was trained"""
    settings: str = "0.8:0.3,0.4:0.3"
    """comma-separated, seconds of a chunk and of the pause that ends a segment"""
    beam: int = 5
    """beam size"""
    max_len_b: int = 600
    """most tokens of a segment's text, here characters"""
    json: bool = False
    """print JSON instead of a table"""


class Speech(NamedTuple):
    """What was said, and when each word ended."""

    words: List[str]
    ends: List[float]


class Told(NamedTuple):
    """Final words of a stream, when each settled (s), and what each result took."""

    words: List[str]
    settled_at: List[float]
    segment_seconds: List[float]
    results: List[Tuple[float, float, float, int]]
    """of each: seconds heard, seconds of its segment, what it took (s), and the most memory so far (MB)"""


def joined(config: LongStreamBenchmark, model: Any, path: Path) -> Tuple[Speech, List[Path]]:
    """Write the recording, and tell what is in it and of which files it is."""
    manifest = read_manifest(config.data / f"{config.test_set}.tsv")
    rows = [manifest[row] for row in range(len(manifest))]
    chosen: List[Utterance] = [one for one in rows if one.id.startswith(config.chapter)]
    edges = [unit_edges(one, manifest.provenance, one.id) for one in chosen]
    tokens = [model.vocab.tokenizer.encode(one.text) for one in chosen]
    timed = model.timed_words([one.units.tolist() for one in chosen], tokens, edges)
    files = [config.recordings / f"{one.id}.flac" for one in chosen]
    rate = model.unit_extractor.sample_rate_hz
    waves = [load_audio(file, rate) for file in files]
    soundfile.write(path, np.concatenate(waves), rate, subtype="PCM_16")
    starts = np.cumsum([0, *map(len, waves)]) / rate
    ends = [float(start + word.end_seconds) for start, words in zip(starts, timed) for word in words]
    return Speech(" ".join(one.text for one in chosen).split(), ends), files


def hear(model: Any, path: Path, options: ListenOptions, generation: Dict[str, int]) -> Told:
    """The recording as a stream."""
    told = Told([], [], [], [])
    settled_at: List[float] = []
    settled: Sequence[str] = []
    listener, before = model.listener(options, **generation), time.process_time()
    for one in listener(audio_blocks(path, listener.sample_rate_hz)):
        took, before = time.process_time() - before, time.process_time()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        told.results.append((one.heard_seconds, one.heard_seconds - one.start_seconds, took, memory))
        if one.partial.is_final:
            told.words.extend(one.partial.settled)
            told.settled_at.extend(kept_times(settled, settled_at, one.partial.settled, one.heard_seconds))
            told.segment_seconds.append(one.heard_seconds - one.start_seconds)
            settled, settled_at = [], []
        else:
            settled = one.partial.settled
            settled_at += [one.heard_seconds] * (len(settled) - len(settled_at))
    return told


def kept_times(settled: Sequence[str], at: Sequence[float], final: Sequence[str], end: float) -> List[float]:
    """When each final word settled: with the end of the segment, if it was not settled as it is before."""
    times, number = [], 0
    for before, after in align(settled, final):
        if after is not None:
            times.append(at[number] if before == after else end)
        number += before is not None
    return times


def lags(speech: Speech, told: Told) -> List[float]:
    """Of the words that are right."""
    found, true, heard = [], 0, 0
    for wanted, word in align(speech.words, told.words):
        if wanted == word:
            found.append(told.settled_at[heard] - speech.ends[true])
        true, heard = true + (wanted is not None), heard + (word is not None)
    return found


def wer_percent(speech: Speech, words: Sequence[str]) -> float:
    """Word errors of a transcript."""
    return 100 * edit_distance(speech.words, words) / len(speech.words)


def row_of(setting: str, model: Any, path: Path, speech: Speech, generation: Dict[str, int]) -> Dict[str, Any]:
    """What one setting gives."""
    chunk, pause = map(float, setting.split(":"))
    options = ListenOptions(chunk_seconds=chunk, end_pause_seconds=pause)
    told = hear(model, path, options, generation)
    late = lags(speech, told)
    return {
        "chunk_seconds": chunk,
        "end_pause_seconds": pause,
        "wer_percent": wer_percent(speech, told.words),
        "lag_mean_s": float(np.mean(late)),
        "lag_median_s": float(np.median(late)),
        "lag_p95_s": float(np.percentile(late, 95)),
        "segments": len(told.segment_seconds),
        "longest_segment_s": max(told.segment_seconds),
        "compute_per_second": sum(took for *_, took, _ in told.results) / told.results[-1][0],
        "compute_by_minute": cost_by([heard // 60 for heard, *_ in told.results], told),
        "compute_by_segment_seconds": cost_by([5 * (age // 5) for _, age, *_ in told.results], told),
        "megabytes_by_minute": {int(heard // 60): memory for heard, *_, memory in told.results},
    }


def cost_by(groups: Sequence[float], told: Told) -> Dict[int, float]:
    """Seconds of computing a second of speech, of the results of each group."""
    heard = np.diff([0.0, *(one[0] for one in told.results)])
    took = np.array([one[2] for one in told.results])
    chosen = {int(one): np.array(groups) == one for one in sorted(set(groups))}
    return {group: float(took[rows].sum() / heard[rows].sum()) for group, rows in chosen.items() if heard[rows].sum()}


def measure(config: LongStreamBenchmark) -> Dict[str, Any]:
    """Offline figures, and a row for each setting."""
    model = hub.load(config.checkpoint, config.data, features=config.features, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chapter.flac"
        speech, files = joined(config, model, path)
        generation = {"beam": config.beam, "max_len_b": config.max_len_b}
        whole = model.transcribe_long(path, **generation)
        singly = model.transcribe(files, **generation)
        return {
            "seconds": whole.seconds,
            "words": len(speech.words),
            "offline_wer_percent": wer_percent(speech, whole.text.split()),
            "offline_segments": len(whole.segments),
            "utterances_wer_percent": wer_percent(speech, " ".join(singly).split()),
            "rows": [row_of(one, model, path, speech, generation) for one in config.settings.split(",")],
        }


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(LongStreamBenchmark, dest="config")
    config: LongStreamBenchmark = parser.parse_args(argv).config
    found = measure(config)
    if config.json:
        print(json.dumps(found, indent=1))
        return 0
    rows = found.pop("rows")
    for one in [found, *rows]:
        print(json.dumps(one))
    return 0


if __name__ == "__main__":
    sys.exit(main())
