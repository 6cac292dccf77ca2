"""From a checkpoint to a `Model`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union

from sld_user_dir.devices import torch_device
from sld_user_dir.errors import InputError
from sld_user_dir.registration import register

if TYPE_CHECKING:
    from sld_user_dir.hub.model import Model

PathLike = Union[str, Path]


def load(
    checkpoint: PathLike,
    data: Optional[PathLike] = None,
    *,
    kmeans: Optional[PathLike] = None,
    tokenizer: Optional[str] = None,
    features: Optional[str] = None,
    device: str = "auto",
    ctc_weight: Optional[float] = None,
    hf_model: Optional[PathLike] = None,
) -> Model:
    """Load a checkpoint of the task `speech_unit_lm`.

    Args:
        checkpoint: file, or several joined by `:` for an ensemble, as fairseq's `--path`.
        data: data directory with the vocabulary it was trained with; by default, where it lay then.
        kmeans: k-means file for `transcribe`; by default `kmeans.npz` in the data directory.
        tokenizer: in place of a k-means, as `sld units --tokenizer` names it: for a model that was trained on a
            tokenizer's own codes. By default what the manifests in the data directory tell, unless it is code of your
            own, which is run only where it is named.
        features: where the encoder of the k-means lies now, a directory, a checkpoint or a name on the Hugging Face
            hub; by default where it lay when the k-means was trained.
        device: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`, …
        ctc_weight: share of the model's CTC in the score of a transcript, from 0 to 1; by default that of its
            training's `--decode-ctc-weight`.
        hf_model: where the pretrained model of a `joint_hf` is now, a directory or a name on the Hugging Face hub; by
            default where it was in training.

    Raises:
        FileNotFoundError: no such checkpoint.
        DeviceError: no such device.
        InputError: another vocabulary or task, with both sides named; a k-means and a tokenizer, or an encoder and a
            tokenizer; a CTC that the model was not trained with.
    """
    if kmeans is not None and tokenizer is not None:
        raise InputError(None, f"both the k-means {kmeans} and the tokenizer {tokenizer} are named", "name one of them")
    if features is not None and tokenizer is not None:
        problem = f"the encoder {features} of a k-means, and the tokenizer {tokenizer}, which has none"
        raise InputError(None, problem, "name one of them")
    where = torch_device(device)
    register()  # fairseq, and our task with it
    from sld_user_dir.hub.confidences import find_confidence_map
    from sld_user_dir.hub.model import Model
    from sld_user_dir.models import checkpoints

    paths = checkpoints.split_paths(str(checkpoint))
    models, cfg, task = checkpoints.load_ensemble(paths, data, None if hf_model is None else str(hf_model))
    if ctc_weight is not None:
        task.decode_with_ctc(ctc_weight)
    confidence_map = find_confidence_map(paths, task.vocab)
    kmeans_file = None if kmeans is None else Path(kmeans)
    return Model(models, cfg, task, where, kmeans_file, tokenizer, confidence_map, features)
