"""A trained checkpoint of `joint_hf` as a Hugging Face directory: the whole model, or its adapters alone."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from sld_user_dir.models.checkpoints import load_ensemble
from sld_user_dir.models.hf_adapter import write_adapter
from sld_user_dir.models.hf_export import write_directory


def export_checkpoint(
    checkpoint: Path,
    data: Path,
    directory: Path,
    base: Optional[str] = None,
    dtype: str = "float32",
    adapter: bool = False,
) -> None:
    """Write a trained checkpoint as a Hugging Face directory.

    Args:
        base: where the pretrained model is now; by default where it was in training.
        dtype: of the weights in the files.
        adapter: write the adapters and the new symbols alone, for peft.
    """
    models, cfg, task = load_ensemble([str(checkpoint)], data, base)
    write = write_adapter if adapter else write_directory
    write(models[0], base or str(cfg.model.get("hf_model") or ""), task.vocab, directory, dtype)
