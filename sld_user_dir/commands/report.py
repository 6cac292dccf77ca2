"""How good units are, as JSON: use of the clusters, agreement with labels, stability under noise.

    sld report --units data/test.tsv
    sld report --units data/test.tsv --alignment phones.ctm
    sld report --kmeans km300.npz --audio test.audio.tsv --recordings 100

The report is printed on standard output; what was not asked for is left out.
"""

import json
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.clustering.quality import frame_labels, label_report, read_ctm, usage_report
from sld_user_dir.clustering.stability import stability_report
from sld_user_dir.clustering.unit_sequences import expand, feature_config_of
from sld_user_dir.features.front_end import build_front_end
from sld_user_dir.features.waveform import load_audio
from sld_user_dir.manifests.audio_manifest import read_audio_manifest
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.pipeline.stream import StreamConfig, speaker_stats


@dataclass
class ReportConfig:
    """What to look at."""

    units: Optional[Path] = None
    """unit manifest: use of the clusters"""
    alignment: Optional[Path] = None
    """CTM file (id channel start duration label, seconds): purity and PNMI of --units"""
    kmeans: Optional[Path] = None
    """k-means file: stability of its units on --audio"""
    audio: Optional[Path] = None
    """audio manifest"""
    recordings: int = 100
    """how many of its first recordings to perturb"""
    device: str = "auto"
    """for a neural encoder: `auto`, `cpu`, `cuda`, or one card as `cuda:1`"""


def use_and_labels(units: Path, alignment: Optional[Path]) -> Dict[str, Any]:
    manifest = read_manifest(units)
    rate = manifest.provenance.frame_rate_hz
    counts = np.bincount(manifest.units, minlength=manifest.provenance.num_units)
    frames = [one.units if one.durations is None else expand(one.units, one.durations) for one in manifest]
    seconds = sum(map(len, frames)) / rate if rate else float("nan")
    report: Dict[str, Any] = {"use": usage_report(counts, len(manifest.units) / seconds)}
    if alignment:
        segments = read_ctm(alignment)
        ids: Dict[str, int] = {}
        labels = [
            frame_labels(segments.get(one.id, []), len(of_one), rate, ids) for one, of_one in zip(manifest, frames)
        ]
        report["labels"] = label_report(np.concatenate(frames), np.concatenate(labels))
    return report


def stability(config: ReportConfig, kmeans_file: Path, audio: Path) -> Dict[str, Any]:
    kmeans = KMeans.load(kmeans_file)
    front_end = build_front_end(feature_config_of(kmeans), config.device)
    everything = read_audio_manifest(audio)
    chosen = everything[: config.recordings]
    speakers = None
    if front_end.wants_speakers:
        by_speaker = speaker_stats(everything, front_end, StreamConfig())
        speakers = {one.id: by_speaker[one.speaker] for one in chosen}
    waves = ((one.id, load_audio(one.path, front_end.sample_rate_hz, one.speed)) for one in chosen)
    return stability_report(waves, front_end, kmeans, speakers)


CONFIGS = {"config": ReportConfig}
SHOWS_PROGRESS = False


def run(options: Namespace) -> None:
    """Run the command."""
    config = options.config
    report: Dict[str, Any] = {}
    if not config.units and (not (config.kmeans and config.audio)):
        raise ValueError("give --units, or --kmeans and --audio, or all three")
    if config.units:
        report.update(use_and_labels(config.units, config.alignment))
    if config.kmeans and config.audio:
        report["stability"] = stability(config, config.kmeans, config.audio)
    print(json.dumps(report, indent=2))
