"""What `sld report` says of units: use of the clusters, agreement with labels, stability of recordings' units."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import numpy as np

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.quality import bitrate_report, frame_labels, label_report, read_ctm, usage_report
from sld_user_dir.clustering.stability import stability_report
from sld_user_dir.clustering.unit_sequences import expand, feature_config_of
from sld_user_dir.errors import InputError
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.features.waveform import load_audio
from sld_user_dir.manifests.audio_manifest import read_audio_manifest
from sld_user_dir.manifests.unit_manifest import read_manifest, refuse_empty
from sld_user_dir.pipeline.stream import StreamConfig, speaker_stats


def report_of_manifest(units: Path, alignment: Optional[Path] = None) -> dict[str, Any]:
    """Use of the clusters in a unit manifest; with an alignment, agreement with its labels, too.

    Args:
        alignment: CTM file, see `read_ctm`.

    Returns:
        `use` as of `usage_report`, `rate` as of `bitrate_report`, `labels` as of `label_report`.

    Raises:
        InputError: a file that is missing or malformed, or no labelled frame.
    """
    manifest = read_manifest(units)
    refuse_empty(manifest)
    rate = manifest.provenance.frame_rate_hz
    counts = np.bincount(manifest.units, minlength=manifest.provenance.num_units)
    frames = [one.units if one.durations is None else expand(one.units, one.durations) for one in manifest]
    seconds = sum(map(len, frames)) / rate if rate else float("nan")
    report: dict[str, Any] = {"use": usage_report(counts, len(manifest.units) / seconds)}
    report["rate"] = bitrate_report(frames, manifest.provenance.num_units, seconds)
    if alignment:
        segments = read_ctm(alignment)
        ids: dict[str, int] = {}
        labels = [
            frame_labels(segments.get(one.id, []), len(of_one), rate, ids) for one, of_one in zip(manifest, frames)
        ]
        report["labels"] = label_report(np.concatenate(frames), np.concatenate(labels))
    return report


def report_of_recordings(kmeans_file: Path, audio: Path, count: int, device: str = "auto") -> dict[str, dict[str, Any]]:
    """How the units of the first `count` recordings of an audio manifest change under perturbation.

    Returns:
        by perturbation, see `stability_report`.

    Raises:
        InputError: a file that is missing or malformed, no recording at its own warp, or no such device.
    """
    kmeans = KMeans.load(kmeans_file)
    front_end = build_front_end(feature_config_of(kmeans), device)
    everything = read_audio_manifest(audio)
    chosen = [one for one in everything if one.warp == 1][:count]
    if not chosen:
        problem = f"none of its {len(everything)} recordings is unwarped"
        raise InputError(audio, problem, "give one that sld audio made without --warps, or with 1 among them")
    speakers = None
    if front_end.wants_speakers:
        by_speaker = speaker_stats(everything, front_end, StreamConfig())
        speakers = {one.id: by_speaker[one.speaker] for one in chosen}
    rate_hz = front_end.sample_rate_hz
    waves = (
        (one.id, load_audio(one.path, rate_hz, one.speed, one.n_samples, stated_rate_hz=one.sample_rate))
        for one in chosen
    )
    return stability_report(waves, front_end, kmeans, speakers)
