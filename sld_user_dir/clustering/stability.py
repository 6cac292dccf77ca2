"""Do units stay the same when only the channel changes? Noise, re-encoding, and what it moves.

A perturbed recording keeps its length, so units compare frame by frame; and, de-duplicated, by
edit distance over the length of the clean sequence (Gat et al. 2022, "Augmentation invariant
discrete representation for generative spoken language modeling").
"""

from __future__ import annotations

import io
from typing import Any, Callable, Iterable

import numpy as np
import soundfile

from sld_user_dir.arrays import FloatArray, UnitArray
from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.sample import stable_random
from sld_user_dir.clustering.unit_sequences import deduplicate
from sld_user_dir.features.cmvn import CmvnStats
from sld_user_dir.features.front_end import FrontEnd
from sld_user_dir.scoring.edits import edit_distance

Perturbation = Callable[[FloatArray, int, str], FloatArray]


def add_noise(snr_db: float) -> Perturbation:
    """White noise at this signal-to-noise ratio, the same for the same recording."""

    def perturb(wave: FloatArray, rate_hz: int, name: str) -> FloatArray:
        noise = stable_random(0, name).standard_normal(len(wave))
        scale = np.sqrt(np.mean(np.square(wave, dtype=np.float64)) / 10 ** (snr_db / 10))
        return (wave + scale * noise).astype(np.float32)

    return perturb


def reencode(container: str, subtype: str) -> Perturbation:
    """Through a codec of libsndfile and back, at the same rate and length."""

    def perturb(wave: FloatArray, rate_hz: int, name: str) -> FloatArray:
        buffer = io.BytesIO()
        soundfile.write(buffer, np.clip(wave, -1, 1), rate_hz, format=container, subtype=subtype)
        buffer.seek(0)
        decoded, _ = soundfile.read(buffer, dtype="float32")
        out = np.zeros_like(wave)
        n = min(len(wave), len(decoded))
        out[:n] = decoded[:n]
        return out

    return perturb


def change_gain(decibel: float) -> Perturbation:
    """Louder or softer."""
    return lambda wave, rate_hz, name: (wave * 10 ** (decibel / 20)).astype(np.float32)


PERTURBATIONS: dict[str, Perturbation] = {
    "gain -6 dB": change_gain(-6),
    "noise 30 dB": add_noise(30),
    "noise 20 dB": add_noise(20),
    "noise 10 dB": add_noise(10),
    "mu-law": reencode("WAV", "ULAW"),
    "Vorbis": reencode("OGG", "VORBIS"),
}


def stability_report(
    waves: Iterable[tuple[str, FloatArray]],
    front_end: FrontEnd,
    kmeans: KMeans,
    speakers: dict[str, CmvnStats] | None = None,
) -> dict[str, dict[str, Any]]:
    """How units change under each perturbation.

    Args:
        waves: names and waveforms at the front end's rate.
        speakers: statistics by name, where the front end normalises by speaker; the clean ones,
            which the perturbed recordings of a few test files would not have shifted.

    Returns:
        by perturbation: `changed_frames`, share of frames with another unit; `unit_edit_rate`, edits of the
        de-duplicated sequence over its clean length.
    """
    counts: dict[str, list[int]] = {name: [0, 0, 0, 0] for name in PERTURBATIONS}
    for name, wave in waves:
        stats = speakers[name] if speakers else None
        clean = kmeans.assign(front_end(wave, stats))
        for kind, perturb in PERTURBATIONS.items():
            changed = perturb(wave, front_end.sample_rate_hz, name)
            now = _compare(clean, kmeans.assign(front_end(changed, stats)))
            counts[kind] = [total + new for total, new in zip(counts[kind], now)]
    return {
        kind: {"frames": frames, "changed_frames": differing / max(frames, 1), "unit_edit_rate": edits / max(length, 1)}
        for kind, (frames, differing, length, edits) in counts.items()
    }


def _compare(clean: UnitArray, noisy: UnitArray) -> list[int]:
    runs, noisy_runs = deduplicate(clean)[0], deduplicate(noisy)[0]
    edits = edit_distance(runs.tolist(), noisy_runs.tolist())
    return [len(clean), int((clean != noisy).sum()), len(runs), edits]
