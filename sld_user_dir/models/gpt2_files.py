"""fairseq checkpoints around GPT-2 weights: what `sld import-gpt2` and `sld export-gpt2` do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import torch

from sld_user_dir.models.checkpoints import load_ensemble
from sld_user_dir.models.gpt2 import export_directory, from_gpt2, options_of
from sld_user_dir.models.transformers_release import loading
from sld_user_dir.stored_checkpoint import untrained, write_stored
from sld_user_dir.vocabulary.joint import JointVocabulary


def import_checkpoint(source: str, data: Path, out: Path, initialisation: str = "normal", seed: int = 1) -> List[str]:
    """Write a checkpoint for `--finetune-from-model` from a Hugging Face GPT-2.

    Args:
        source: a directory of `save_pretrained`, or a name on the Hugging Face hub.
        data: data directory whose text symbols are GPT-2's.

    Returns:
        The options that `fairseq-train` needs for a model of this shape.

    Raises:
        InputError: no GPT-2 there, or one that does not fit.
    """
    vocab = JointVocabulary.load(data)
    remedy = "give a directory of save_pretrained, or a name on the Hugging Face hub such as gpt2"
    with loading(source, "GPT-2", remedy) as place:
        from transformers import GPT2LMHeadModel

        model = GPT2LMHeadModel.from_pretrained(place, dtype=torch.float32)
    weights = from_gpt2(model.state_dict(), model.config, vocab, initialisation, seed)
    write_stored(out, untrained(weights, {"vocabulary": vocab.fingerprint}))
    return ["--arch", "joint_lm_gpt2", *_as_flags(options_of(model.config)), "--finetune-from-model", str(out)]


def export_checkpoint(checkpoint: Path, data: Path, out: Path) -> None:
    """Write a trained checkpoint as a Hugging Face GPT-2 directory."""
    models, _, task = load_ensemble([str(checkpoint)], data)
    export_directory(models[0], task.vocab, out)


def _as_flags(options: Dict[str, Any]) -> List[str]:
    return [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
