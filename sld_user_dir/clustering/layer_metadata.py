"""What a k-means file says of the layers that its frames are the sum of, and the same with other weights."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from sld_user_dir.features.layer_sum import LayerSum, weights_text


def layer_sum_of(metadata: Mapping[str, Any]) -> Optional[LayerSum]:
    """Of a k-means file's metadata; None where its frames are of one layer, or of an encoder without."""
    return LayerSum.of_features(metadata.get("features") or {})


def with_layer_weights(metadata: Mapping[str, Any], weights: Sequence[float]) -> dict[str, Any]:
    """The metadata of frames that are summed by other weights: in the features, and in the encoder's name."""
    features = {**metadata["features"], "layer_weights": weights_text(weights)}
    changed = {**metadata, "features": features}
    if changed.get("encoder"):
        changed["encoder"] = renamed(changed["encoder"], layer_sum_of(metadata), layer_sum_of(changed))
    return changed


def renamed(encoder: str, old: Optional[LayerSum], new: Optional[LayerSum]) -> str:
    """The name of an encoder, in which the sum of its layers is another one."""
    return encoder if old is None or new is None else encoder.replace(old.name, new.name)
