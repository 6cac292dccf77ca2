"""Word errors against lag: strings of digits whose units, or whose sound, come in chunks, decoded as a stream."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from sld_user_dir import hub
from sld_user_dir.corpora.connected_digits import SAMPLE_RATE_HZ, find_digits
from sld_user_dir.features.resampling import resample
from sld_user_dir.features.waveform import load_audio
from sld_user_dir.manifests.ctm import TimedWord, read_ctm
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.scoring.edits import edit_distance
from sld_user_dir.streaming.heard_audio import ListenOptions
from sld_user_dir.timing.unit_times import unit_edges

SETTINGS = ((0.2, 1), (0.2, 2), (0.2, 3), (0.4, 2), (0.8, 2))
"""Seconds of a chunk, and hypotheses that must agree."""


def chunks_by_time(units: Any, edges: Any, seconds: float) -> Iterator[List[int]]:
    """Units in the order in which they end."""
    number = np.floor(np.asarray(edges[1:]) / seconds - 1e-6).astype(int)
    for chunk in range(int(number[-1]) + 1):
        yield units[number == chunk].tolist()


def stream(
    model: Any, units: Any, edges: Any, seconds: float, agreement: int, beam: int
) -> Tuple[List[str], List[float], int]:
    """Words that are told in the end, when each was settled (s), and how many settled before the end."""
    chunks = list(chunks_by_time(units, edges, seconds))
    words: List[str] = []
    settled_at: List[float] = []
    early = 0
    options = {"agreement": agreement, "keep_settled": True, "beam": beam, "max_len_b": 20}
    for number, told in enumerate(model.listen_to_units(chunks, **options)):
        heard = edges[-1] if told.is_final else min((number + 1) * seconds, edges[-1])
        early = len(settled_at) if told.is_final else len(told.settled)
        settled_at += [float(heard)] * (len(told.settled) - len(settled_at))
        words = told.settled
    return words, settled_at, early


def lag_rows(
    checkpoint: Path, data: Path, test_set: str, references: Path, strings: int, beam: int
) -> List[Dict[str, Any]]:
    """A row for offline decoding, and one for each setting, of the first strings of a test set."""
    model = hub.load(checkpoint, data, device="cpu")
    manifest = read_manifest(data / f"{test_set}.tsv")
    true = read_ctm(references / f"{test_set}.ctm")
    some = [manifest[row] for row in range(min(strings, len(manifest)))]
    edges = [unit_edges(one, manifest.provenance, one.id) for one in some]
    total = sum(float(one[-1]) for one in edges)
    start = time.process_time()
    offline = [model.transcribe_units(one.units.tolist(), beam=beam, max_len_b=20).split() for one in some]
    rows = [_row(data, test_set, "offline", some, offline, (time.process_time() - start) / total)]
    for seconds, agreement in SETTINGS:
        start = time.process_time()
        told = [stream(model, one.units, at, seconds, agreement, beam) for one, at in zip(some, edges)]
        row = _row(data, test_set, "stream", some, [words for words, *_ in told], (time.process_time() - start) / total)
        back = sum(early - _agreeing(words[:early], other) for (words, _, early), other in zip(told, offline))
        row.update({"chunk_seconds": seconds, "agreement": agreement, "taken_back": back})
        rows.append({**row, **_lag_figures(some, true, told)})
    return rows


def audio_lag_rows(
    checkpoint: Path,
    data: Path,
    test_set: str,
    references: Path,
    strings: int,
    beam: int,
    recordings: Path,
    features: Optional[str],
) -> List[Dict[str, Any]]:
    """What `lag_rows` measures, from the sound on: all of what was heard is encoded anew with each chunk."""
    model = hub.load(checkpoint, data, features=features, device="cpu")
    manifest, true = read_manifest(data / f"{test_set}.tsv"), read_ctm(references / f"{test_set}.ctm")
    some = [manifest[row] for row in range(min(strings, len(manifest)))]
    rate = model.unit_extractor.sample_rate_hz
    paths = {one.path.stem: one.path for one in find_digits(recordings)}
    waves = [_sound([paths[name] for name in one.fields["digits"].split()], rate) for one in some]
    total = sum(map(len, waves)) / rate
    rows = []
    for seconds, agreement in SETTINGS:
        options = ListenOptions(seconds, agreement=agreement, keep_settled=True, end_pause_seconds=0)
        listener = model.listener(options, beam=beam, max_len_b=20)
        start = time.process_time()
        told = [_heard(listener([wave])) for wave in waves]
        row = _row(data, test_set, "audio", some, [words for words, *_ in told], (time.process_time() - start) / total)
        row.update({"chunk_seconds": seconds, "agreement": agreement})
        rows.append({**row, **_lag_figures(some, true, told)})
    return rows


def _sound(paths: Sequence[Path], rate_hz: int) -> Any:
    parts = [load_audio(path, SAMPLE_RATE_HZ) for path in paths]
    return resample(np.concatenate(parts), SAMPLE_RATE_HZ, rate_hz)


def _heard(results: Iterable[Any]) -> Tuple[List[str], List[float], int]:
    words: List[str] = []
    settled_at: List[float] = []
    for one in results:
        settled_at += [one.heard_seconds] * (len(one.partial.settled) - len(settled_at))
        words = one.partial.settled
    return words, settled_at, len(settled_at)


def _lag_figures(
    some: Sequence[Any], true: Mapping[str, Sequence[TimedWord]], told: Sequence[Tuple[List[str], List[float], int]]
) -> Dict[str, float]:
    lags = [lag for one, found in zip(some, told) for lag in _lags(one, true[one.id], found)]
    return {"lag_mean_s": float(np.mean(lags)), "lag_p90_s": float(np.percentile(lags, 90))}


def _lags(utterance: Any, true: Sequence[TimedWord], found: Tuple[List[str], List[float], int]) -> List[float]:
    """From the true end of each word but the last, which the end of the string settles, to its settling (s)."""
    words, settled_at, _ = found
    if words != utterance.text.split():
        return []
    return [at - one.end_seconds for one, at in zip(true[:-1], settled_at)]


def _agreeing(words: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    while count < min(len(words), len(other)) and words[count] == other[count]:
        count += 1
    return count


def _row(
    data: Path, test_set: str, kind: str, some: Sequence[Any], texts: Sequence[List[str]], compute: float
) -> Dict[str, Any]:
    errors = sum(edit_distance(one.text.split(), words) for one, words in zip(some, texts))
    n_words = sum(len(one.text.split()) for one in some)
    return {
        "units": data.name,
        "test_set": test_set,
        "kind": kind,
        "strings": len(some),
        "wer_percent": 100 * errors / n_words,
        "compute_per_second": compute,
    }
