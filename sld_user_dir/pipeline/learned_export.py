"""Units and encoder that a checkpoint has learnt, as a k-means file, a directory and a plain checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional

from sld_user_dir.features.trained_encoder import encoder_name, save_trained_encoder
from sld_user_dir.quantisation.learned_centroids import LearnedCentroids, export_centroids


def export_learned_units(
    checkpoint: Path, out: Path, plain_checkpoint: Optional[Path] = None, encoder_directory: Optional[Path] = None
) -> LearnedCentroids:
    """Write what a checkpoint of `--learn-units` holds.

    Args:
        encoder_directory: where to write the encoder of `--learn-encoder`.

    Raises:
        InputError: no checkpoint, nothing learnt with it, or an encoder and no directory for it.
    """

    def save_encoder(metadata: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
        assert encoder_directory is not None
        save_trained_encoder(metadata["features"]["features"], weights, encoder_directory)
        features = {**metadata["features"], "features": str(encoder_directory)}
        return {**metadata, "features": features, "encoder": encoder_name(features)}

    return export_centroids(checkpoint, out, plain_checkpoint, save_encoder if encoder_directory else None)
