"""The units that a checkpoint has learnt, as an ordinary k-means file, and the checkpoint without its quantiser.

From then on the units are like any others: `sld units` extracts them, manifests state them, and the plain checkpoint
decodes them, and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional

from sld_user_dir.clustering.kmeans_file import Centroids, centroids_sha256, checked_centroids
from sld_user_dir.clustering.layer_metadata import layer_sum_of, renamed, with_layer_weights
from sld_user_dir.errors import InputError
from sld_user_dir.quantisation.layer_weights import learnt_weights
from sld_user_dir.sequences.feature_names import LEARNED_UNITS
from sld_user_dir.stored_checkpoint import read_stored, write_stored

ENCODER_PREFIX = "unit_encoder.model."
LEARNED_PARTS = ("quantiser.", "unit_usage.", ENCODER_PREFIX)
"""Of a model's state: what the plain checkpoint does without."""


SaveEncoder = Callable[[Mapping[str, Any], Mapping[str, Any]], Dict[str, Any]]
"""Of a k-means file's metadata and an encoder's weights: saves the encoder, and gives the metadata of its frames."""


class LearnedCentroids(NamedTuple):
    """What was exported."""

    num_units: int
    dim: int
    sha256: str
    moved: int
    """units whose centroid is not that of the start"""


def export_centroids(
    checkpoint: Path, out: Path, plain_checkpoint: Optional[Path] = None, save_encoder: Optional[SaveEncoder] = None
) -> LearnedCentroids:
    """Write the k-means file of a checkpoint.

    Args:
        plain_checkpoint: where to write the model without its quantiser; None for nowhere.
        save_encoder: for a checkpoint whose encoder was trained, too.

    Raises:
        InputError: no checkpoint, one whose units were not learnt with it, or an encoder where none can be saved, or
            the other way round.
    """
    stored = read_stored(checkpoint)
    about = (stored.get("task_state") or {}).get(LEARNED_UNITS)
    state = stored.get("model") or {}
    if about is None or "quantiser.shift" not in state:
        raise InputError(checkpoint, "its units were not learnt with it", "give a checkpoint of --learn-units")
    start, length, shift = (state[f"quantiser.{name}"].double() for name in ("start", "unit_of_length", "shift"))
    values = checked_centroids((start.float() + length.float() * shift.float()).numpy(), checkpoint)
    metadata = {**about["metadata"], "learned_from": about["kmeans"]}
    metadata.pop("training", None)
    if "quantiser.layer_weights.shift" in state:
        weights = learnt_weights(*(state[f"quantiser.layer_weights.{name}"] for name in ("start", "shift")))
        metadata = with_layer_weights(metadata, weights.tolist())
    encoder = {name[len(ENCODER_PREFIX) :]: value for name, value in state.items() if name.startswith(ENCODER_PREFIX)}
    if bool(encoder) != (save_encoder is not None):
        problem, remedy = "its encoder was trained, too", "name a directory for it by --encoder-out"
        if not encoder:
            problem, remedy = "its encoder was not trained", "leave --encoder-out out"
        raise InputError(checkpoint, problem, remedy)
    if save_encoder is not None:
        metadata = save_encoder(metadata, encoder)
    Centroids.save(out, values, metadata)
    sha256 = centroids_sha256(values)
    if plain_checkpoint is not None:
        write_stored(plain_checkpoint, _without_quantiser(stored, sha256, metadata))
    num_units, dim = values.shape
    return LearnedCentroids(num_units, dim, sha256, int((shift != 0).any(1).sum()))


def _without_quantiser(stored: Dict[str, Any], sha256: str, metadata: Dict[str, Any]) -> Dict[str, Any]:
    state = {name: value for name, value in stored["model"].items() if not name.startswith(LEARNED_PARTS)}
    task_state = {name: value for name, value in stored["task_state"].items() if name != LEARNED_UNITS}
    made_by = task_state.get("unit_provenance")
    if made_by:
        start = layer_sum_of(stored["task_state"][LEARNED_UNITS]["metadata"])
        encoder = metadata.get("encoder") or renamed(made_by["encoder"], start, layer_sum_of(metadata))
        task_state["unit_provenance"] = {**made_by, "encoder": encoder, "kmeans": sha256}
    cfg = {**stored["cfg"], "task": {**stored["cfg"]["task"], "learn_units": None, "learn_encoder": False}}
    # the optimizer's state counts the quantiser's parameters, too
    return {**stored, "model": state, "task_state": task_state, "cfg": cfg, "last_optimizer_state": None}
