"""Our k-means file (.npz) to scikit-learn's joblib form, which textless-lib's KMeansQuantizer loads; and back.

    sld export-kmeans --kmeans km100.npz --out hubert-base-ls960-kmeans-100.bin
    sld export-kmeans --import-sklearn km.bin --trust-pickle --out km.npz \\
        --features facebook/hubert-base-ls960 --layer 9

    sld export-kmeans --checkpoint runs/learned/checkpoint_best.pt --out learned.npz --plain-checkpoint plain.pt

The export gives the same units (`--check` assigns random frames with both and counts). An imported
file stores the features that you name, as a file that was trained here does. Of a checkpoint that has learnt its
units (--learn-units, docs/learned_units.md) it writes our form, and the checkpoint that decodes such units.
"""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from sld_user_dir.clustering.kmeans import KMeans
from sld_user_dir.errors import InputError
from sld_user_dir.features.feature_config import FeatureConfig
from sld_user_dir.interop.sklearn_kmeans import disagreements, export_sklearn, import_sklearn

MOST_COMPARED = 1_000_000  # all at once in memory


@dataclass
class ConvertConfig:
    """Which file, and which way."""

    out: Path
    """file to write"""
    kmeans: Optional[Path] = None
    """our k-means file, to export"""
    import_sklearn: Optional[Path] = None
    """joblib or pickle file with cluster_centers_, to import"""
    checkpoint: Optional[Path] = None
    """checkpoint of --learn-units, whose units to write as our k-means file"""
    plain_checkpoint: Optional[Path] = None
    """with --checkpoint: where to write the model without its quantiser, for manifests of these units"""
    encoder_out: Optional[Path] = None
    """with --checkpoint of --learn-encoder: directory to write its encoder to, for --features"""
    trust_pickle: bool = False
    """load --import-sklearn: that runs whatever code the file holds"""
    check: int = 5000
    """frames around the centroids that both must assign to the same units; 0: none are compared"""

    def __post_init__(self) -> None:
        if not 0 <= self.check <= MOST_COMPARED:
            problem = "less than no frame" if self.check < 0 else f"more than {MOST_COMPARED} frames"
            raise InputError(f"--check {self.check}", problem, "take 5000, or 0 to compare none")


def convert(config: ConvertConfig, features: FeatureConfig) -> str:
    """Write the file; returns what was done."""
    if sum(one is not None for one in (config.kmeans, config.import_sklearn, config.checkpoint)) != 1:
        raise InputError(
            None,
            "one file to convert",
            "give either --kmeans or --checkpoint, to export, or --import-sklearn, to import",
        )
    if config.checkpoint is not None:
        return _export_learned(config.checkpoint, config)
    if config.import_sklearn is not None:
        found = import_sklearn(config.import_sklearn, config.trust_pickle)
        KMeans(found.centroids, {**found.metadata, "features": features.to_dict()}).save(config.out)
        return f"{config.out}: {found.num_units} units of {found.dim} dimensions, {found.sha256}"
    kmeans = KMeans.load(str(config.kmeans))
    different = disagreements(kmeans, config.check) if config.check else 0
    export_sklearn(kmeans, config.out)
    text = f"{config.out}: {kmeans.num_units} units of {kmeans.dim} dimensions, {kmeans.sha256}"
    return text + (f"; {config.check - different} of {config.check} frames get the same unit" if config.check else "")


def _export_learned(checkpoint: Path, config: ConvertConfig) -> str:
    from sld_user_dir.pipeline.learned_export import export_learned_units  # brings torch

    learned = export_learned_units(checkpoint, config.out, config.plain_checkpoint, config.encoder_out)
    text = f"{config.out}: {learned.num_units} units of {learned.dim} dimensions, {learned.moved} of them moved"
    plain = "" if config.plain_checkpoint is None else f"; {config.plain_checkpoint} decodes them"
    return f"{text}, {learned.sha256}{plain}"


CONFIGS = {"config": ConvertConfig, "features_config": FeatureConfig}
SHOWS_PROGRESS = True


def run(options: Namespace) -> None:
    """Run the command."""
    print(convert(options.config, options.features_config))
