"""How good a set of units is: fit, use of the clusters, bitrate, agreement with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sld_user_dir.arrays import FloatArray, PathLike, UnitArray
from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.unit_sequences import deduplicate
from sld_user_dir.errors import InputError, line_of
from sld_user_dir.files import read_lines

IntArray = npt.NDArray[np.integer[Any]]
UNLABELLED = -1


def fit_report(kmeans: KMeans, held_out: FloatArray, frame_rate_hz: float) -> dict[str, Any]:
    """Inertia and use of the clusters on frames (n, D) that the training did not see."""
    units, distances = kmeans.search(held_out)
    variance = float(held_out.var(axis=0, dtype=np.float64).sum())
    inertia = float(distances.mean(dtype=np.float64))
    counts = np.bincount(units, minlength=kmeans.num_units)
    return {
        "held_out_frames": len(held_out),
        "inertia": inertia,
        "explained_variance": 1 - inertia / variance if variance else 1.0,
        **usage_report(counts, frame_rate_hz),
    }


def usage_report(counts: IntArray, units_per_second: float) -> dict[str, Any]:
    """Entropy of the units, from how often each occurs (K,).

    `perplexity` is 2 to the entropy, at most K; `bitrate` = entropy * units per second, what a
    code without memory would need.
    """
    p = counts[counts > 0] / max(counts.sum(), 1)
    entropy = float(-(p * np.log2(p)).sum())
    return {
        "num_units": len(counts),
        "used_units": int((counts > 0).sum()),
        "entropy_bits": entropy,
        "perplexity": 2.0**entropy,
        "bitrate": entropy * units_per_second,
    }


def bitrate_report(frames: Sequence[UnitArray], num_units: int, seconds: float) -> dict[str, float]:
    """Bits a second of unit sequences that are not de-duplicated: entropy of single units * units a second.

    `bits_per_second` counts a unit for each frame; `bits_per_second_deduplicated` one for each run of equal units,
    whose durations are lost.
    """
    report = {}
    for key, sequences in (("", frames), ("_deduplicated", [deduplicate(one)[0] for one in frames])):
        units = np.concatenate([np.zeros(0, np.int64), *sequences])  # no sequences, no bits
        used = usage_report(np.bincount(units, minlength=num_units), len(units) / seconds if seconds else 0.0)
        report[f"bits_per_second{key}"] = float(used["bitrate"])
    return report


def label_report(units: IntArray, labels: IntArray) -> dict[str, float]:
    """Agreement of units and labels, frame by frame (HuBERT, Hsu et al. 2021, section IV-C).

    `label_purity`: share of frames right if each unit stood for its commonest label.
    `cluster_purity`: share of frames right if each label stood for its commonest unit.
    `pnmi`: I(label; unit) / H(label). Frames labelled UNLABELLED do not count.

    Raises:
        InputError: no labelled frame.
        ValueError: other lengths.
    """
    if units.shape != labels.shape:
        raise ValueError(f"{len(units)} units, {len(labels)} labels")
    kept = labels != UNLABELLED
    if not kept.any():
        raise InputError("--alignment", "no frame is labelled", "check that its ids are those of the manifest")
    joint = np.zeros((int(labels.max()) + 1, int(units.max()) + 1))
    np.add.at(joint, (labels[kept], units[kept]), 1.0)
    joint /= joint.sum()
    p_label, p_unit = joint.sum(axis=1), joint.sum(axis=0)
    independent = np.outer(p_label, p_unit)
    both = joint > 0
    information = float((joint[both] * np.log(joint[both] / independent[both])).sum())
    entropy = float(-(p_label[p_label > 0] * np.log(p_label[p_label > 0])).sum())
    return {
        "labelled_frames": int(kept.sum()),
        "label_purity": float(joint.max(axis=0).sum()),
        "cluster_purity": float(joint.max(axis=1).sum()),
        "pnmi": information / entropy if entropy > 0 else 1.0,  # one label: nothing left to tell
    }


Segments = dict[str, list[tuple[float, float, str]]]


def read_ctm(path: PathLike) -> Segments:
    """Alignment by recording: CTM lines `id channel start duration label`, in seconds.

    Raises:
        InputError: no such file, or anything else in it, with its line.
    """
    segments: Segments = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip() or line.startswith(";;"):
            continue
        parts = line.split()
        try:
            start, duration, label = float(parts[2]), float(parts[3]), parts[4]
        except (IndexError, ValueError):
            raise InputError(
                line_of(path, number), "not 'id channel start duration label'", "see docs/units.md"
            ) from None
        segments.setdefault(parts[0], []).append((start, start + duration, label))
    return segments


def frame_labels(
    segments: list[tuple[float, float, str]], n_frames: int, frame_rate_hz: float, ids: dict[str, int]
) -> npt.NDArray[np.int64]:
    """Label of each frame by its middle, (n_frames,); `ids` numbers the labels and grows."""
    middles = (np.arange(n_frames) + 0.5) / frame_rate_hz
    labels = np.full(n_frames, UNLABELLED, dtype=np.int64)
    for start, end, label in segments:
        labels[(middles >= start) & (middles < end)] = ids.setdefault(label, len(ids))
    return labels
