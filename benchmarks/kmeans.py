"""k-means against the authors' set-up, and what units cost beside the encoder.

    python benchmarks/kmeans.py --json                  # the four cases; an hour or two on one core
    python benchmarks/kmeans.py --json --quick          # a tenth of frames and units; two minutes
    python benchmarks/kmeans.py --json --cases 39x500   # one case
    python benchmarks/kmeans.py --json --end-to-end     # audio to units against a HuBERT base alone

Baseline: scikit-learn's MiniBatchKMeans with batches of 10,000, up to 100 passes, 100 batches
without improvement, n_init 20, reassignment 0.01; and assignment utterance by utterance in
numpy. Both sides get the same frames and threads, in turns; times are medians of --repeats, in
CPU seconds with one thread (other programs do not count), else in seconds.
Frames are drawn from a mixture in a low-dimensional space (speech frames fill few dimensions);
`--mfcc MANIFEST` takes the 39-dimensional ones from recordings instead.
"""

import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import faiss
import numpy as np
from simple_parsing import ArgumentParser, DashVariant
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.unit_sequences import assign_joined
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.manifests.audio_manifest import Recording, read_audio_manifest
from sld_user_dir.pipeline.extraction import extract_units
from sld_user_dir.pipeline.stream import Framed, StreamConfig, stream_frames

FRAMES = {39: 200_000, 768: 100_000}
HELD_OUT = 20_000
LATENT = {39: 16, 768: 48}
QUICK = 10


@dataclass
class BenchmarkConfig:
    """What to run."""

    json: bool = False
    """print one JSON list of cases instead of lines"""
    quick: bool = False
    """a tenth of the frames and units"""
    cases: List[str] = field(default_factory=lambda: ["39x500", "39x2000", "768x500", "768x2000"])
    """dimensions x units"""
    n_init: int = 20
    """starts that the baseline tries; the bar is stated for 20"""
    repeats: int = 1
    """runs of each side, in turns"""
    threads: int = 1
    """threads of both sides"""
    seed: int = 0
    """of the frames and of both sides"""
    mfcc: Optional[Path] = None
    """audio manifest to take the 39-dimensional frames from"""
    end_to_end: bool = False
    """measure audio to units against the encoder alone, in place of the k-means cases"""


def synthetic_frames(dim: int, n: int, seed: int) -> np.ndarray:
    """(n, dim): 1,000 overlapping clouds in few dimensions, projected, with noise in all."""
    rng = np.random.default_rng(seed)
    latent = LATENT[dim]
    centres = rng.standard_normal((1000, latent))
    weights = rng.gamma(1.0, size=1000)
    points = centres[rng.choice(1000, n, p=weights / weights.sum())] + 0.7 * rng.standard_normal((n, latent))
    projection = rng.standard_normal((latent, dim)) / np.sqrt(latent)
    return (points @ projection + 0.3 * rng.standard_normal((n, dim))).astype(np.float32)


def mfcc_frames(manifest: Path, n: int, seed: int) -> np.ndarray:
    """(n, 39) of recordings, each at three speeds until there are enough."""
    recordings = read_audio_manifest(manifest)
    rate = recordings[0].sample_rate or 16000
    front_end = build_front_end(FeatureConfig(sample_rate_hz=rate, normalise="utterance"))
    frames = [f.frames for f in stream_frames(recordings, front_end, StreamConfig()) if isinstance(f, Framed)]
    joined = np.concatenate(frames)
    if len(joined) < n:
        raise ValueError(f"{manifest}: {len(joined)} frames, {n} wanted; list more speech (--speeds 0.9 1.0 1.1)")
    return joined[np.random.default_rng(seed).permutation(len(joined))[:n]]


def interleaved(
    sides: Dict[str, Callable[[], Any]], config: BenchmarkConfig, at_least: int = 1
) -> Tuple[Dict[str, float], Dict[str, Any]]:
    """Median seconds and last result of each side, run in turns."""
    clock = time.process_time if config.threads == 1 else time.perf_counter
    seconds: Dict[str, List[float]] = {name: [] for name in sides}
    results: Dict[str, Any] = {}
    for _ in range(max(at_least, config.repeats)):
        for name, run in sides.items():
            start = clock()
            results[name] = run()
            seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}, results


def assign_per_utterance(centroids: np.ndarray, utterances: List[np.ndarray]) -> List[np.ndarray]:
    """All squared distances in numpy, an utterance at a time, as HuBERT's recipe does it."""
    transposed = centroids.transpose()  # (D, K), a view
    norms = (transposed**2).sum(axis=0, keepdims=True)
    return [
        ((x**2).sum(axis=1, keepdims=True) - 2 * np.matmul(x, transposed) + norms).argmin(axis=1) for x in utterances
    ]


def kmeans_case(case: str, config: BenchmarkConfig) -> Dict[str, Any]:
    dim, units = map(int, case.split("x"))
    n, units = (FRAMES[dim] // QUICK, units // QUICK) if config.quick else (FRAMES[dim], units)
    real = dim == 39 and config.mfcc is not None
    if real:
        frames = mfcc_frames(config.mfcc, n + HELD_OUT, config.seed)
    else:
        frames = synthetic_frames(dim, n + HELD_OUT, config.seed)
    train, held_out = frames[:n], frames[n:]
    baseline = MiniBatchKMeans(
        units,
        init="k-means++",
        max_iter=100,
        batch_size=10_000,
        tol=0.0,
        max_no_improvement=100,
        n_init=config.n_init,
        reassignment_ratio=0.01,
        compute_labels=False,
        random_state=config.seed,
    )
    seconds, fitted = interleaved(
        {
            "ours": lambda: KMeans.fit(train, units, seed=config.seed, device="cpu"),
            "baseline": lambda: baseline.fit(train),
        },
        config,
    )
    ours = fitted["ours"]
    theirs = KMeans(fitted["baseline"].cluster_centers_.astype(np.float32))
    inertia, baseline_inertia = (float(k.search(held_out)[1].mean(dtype=np.float64)) for k in (ours, theirs))
    rng = np.random.default_rng(config.seed)
    cuts = np.cumsum(rng.integers(100, 800, size=len(train) // 450))  # 2 to 16 s at 50 Hz
    utterances = np.split(train, cuts[cuts < len(train)])
    assign, assigned = interleaved(
        {
            "ours": lambda: list(assign_joined(ours, utterances)),
            "baseline": lambda: assign_per_utterance(ours.centroids, utterances),
        },
        config,
        at_least=5,
    )
    same = np.mean(np.concatenate(assigned["ours"]) == np.concatenate(assigned["baseline"]))
    return {
        "case": case,
        "frames": n,
        "dim": dim,
        "units": units,
        "data": "mfcc" if real else "synthetic",
        "quick": config.quick,
        "n_init": config.n_init,
        "threads": config.threads,
        "repeats": config.repeats,
        "seconds": seconds["ours"],
        "baseline_seconds": seconds["baseline"],
        "speedup": seconds["baseline"] / seconds["ours"],
        "inertia": inertia,
        "baseline_inertia": baseline_inertia,
        "inertia_ratio": inertia / baseline_inertia,
        "assign_seconds": assign["ours"],
        "baseline_assign_seconds": assign["baseline"],
        "assign_speedup": assign["baseline"] / assign["ours"],
        "assign_agreement": float(same),
    }


def end_to_end_case(config: BenchmarkConfig) -> Dict[str, Any]:
    """A HuBERT base of random weights, layer 9, K = 2,000.

    FLAC files to a unit manifest, against the encoder on waveforms in memory.
    """
    import soundfile
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    rng = np.random.default_rng(config.seed)
    lengths = rng.uniform(2, 8, size=6 if config.quick else 24)
    with tempfile.TemporaryDirectory() as folder:
        HubertModel(HubertConfig()).save_pretrained(folder)
        Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
        front_end = build_front_end(FeatureConfig(features=folder, layer=9), "cpu")
        kmeans = KMeans(rng.standard_normal((2000, 768)).astype(np.float32))
        waves, recordings = [], []
        for i, seconds in enumerate(lengths):
            wave = (0.1 * rng.standard_normal(int(seconds * 16000))).astype(np.float32)
            path = Path(folder, f"{i}.flac")
            soundfile.write(path, wave, 16000)
            waves.append(wave)
            recordings.append(Recording(str(i), path, len(wave), 16000, "text"))
        out = Path(folder, "units.tsv")
        seconds_of, _ = interleaved(
            {
                "encoder": lambda: front_end.encode_batch(waves),
                "audio_to_units": lambda: extract_units(recordings, front_end, kmeans, out),
            },
            config,
            at_least=3,
        )
    return {
        "case": "end_to_end",
        "audio_seconds": float(lengths.sum()),
        "threads": config.threads,
        "encoder_seconds": seconds_of["encoder"],
        "audio_to_units_seconds": seconds_of["audio_to_units"],
        "overhead": seconds_of["audio_to_units"] / seconds_of["encoder"] - 1,
    }


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(BenchmarkConfig, dest="config")
    config = parser.parse_args(argv).config
    faiss.omp_set_num_threads(config.threads)
    results = []
    with threadpool_limits(config.threads):
        for case in ["end_to_end"] if config.end_to_end else config.cases:
            results.append(end_to_end_case(config) if config.end_to_end else kmeans_case(case, config))
            print(json.dumps(results[-1]), file=sys.stderr, flush=True)  # kept if a later case is cut off
    if config.json:
        print(json.dumps(results, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
