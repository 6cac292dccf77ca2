"""A checkpoint of fairseq2's to one of fairseq's, which fairseq-generate, `sld transcribe` and `hub.load` take.

    python -m sld_user_dir.fairseq2.to_fairseq RUN/checkpoints --data DATA --out checkpoint.pt

Needs neither framework: fairseq2's files are read by torch and YAML. The other way needs no program: fairseq2 loads a
checkpoint of fairseq's by `model.path=checkpoint_best.pt`.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

import torch

from sld_user_dir.errors import InputError
from sld_user_dir.fairseq2.model_origin import stored_config
from sld_user_dir.fairseq2.state_names import to_fairseq
from sld_user_dir.stored_checkpoint import read_stored, untrained, write_stored
from sld_user_dir.vocabulary.joint import JointVocabulary

WEIGHTS = Path("model/pp_00/tp_00/sdp_00.pt")
FORMAT = 3.0
"""Of fairseq's decoders; one that does not state it loses its last normalisation."""


def export(checkpoints: Path, data: Path, out: Path, step: Optional[int] = None) -> None:
    """Write the checkpoint of a step, by default the last.

    Args:
        checkpoints: folder `checkpoints` of a training.
        data: data directory with the vocabulary of the training.

    Raises:
        InputError: no such checkpoint, a sharded one, or one of another vocabulary.
    """
    folder, config = folder_of_step(checkpoints, step), stored_config(checkpoints)
    if len(list(folder.glob("model/*/*/*.pt"))) != 1:
        raise InputError(folder, "its weights are in several files", "give one that was trained without sharding")
    vocab = JointVocabulary.load(data)
    if config["vocabulary"] != vocab.fingerprint:
        problem = f"its vocabulary is {config['vocabulary']}, but that of {data} is {vocab.fingerprint}"
        raise InputError(checkpoints, problem, "give the data directory of the training")
    write_stored(out, fairseq_checkpoint(read_stored(folder / WEIGHTS), config, str(data), vocab.pad))


def folder_of_step(checkpoints: Path, step: Optional[int]) -> Path:
    """The folder of one step, by default of the last one."""
    steps = {int(path.name[5:]): path for path in checkpoints.glob("step_*") if re.fullmatch(r"step_\d+", path.name)}
    if not steps or step not in (None, *steps):
        wanted = "no step" if step is None else f"no step {step}"
        raise InputError(checkpoints, f"{wanted} of a training is there", "give the folder checkpoints of a training")
    return steps[max(steps) if step is None else step]


def fairseq_checkpoint(weights: Dict[str, Any], config: Dict[str, Any], data: str, pad: int) -> Dict[str, Any]:
    """The entries of fairseq's file."""
    positions, width = config["max_seq_len"], config["model_dim"]
    model = {
        "_name": "joint_lm",
        "activation_fn": "gelu_accurate",
        "dropout": config["dropout_p"],
        "attention_dropout": config["attn_dropout_p"],
        **dict.fromkeys(("decoder_embed_dim", "decoder_input_dim", "decoder_output_dim"), width),
        "decoder_ffn_embed_dim": config["ffn_inner_dim"],
        "decoder_layers": config["num_layers"],
        "decoder_attention_heads": config["num_attn_heads"],
        "decoder_normalize_before": True,
        "share_decoder_input_output_embed": config["tied_embeddings"],
        "decoder_learned_pos": not config["sinusoidal_positions"],
        "no_scale_embedding": not config["scale_embeddings"],
        **dict.fromkeys(("tokens_per_sample", "max_target_positions"), positions),
    }
    origin = {"vocabulary": config["vocabulary"], "unit_provenance": config["units"] or None}
    cfg = {"model": model, "task": {"_name": "speech_unit_lm", "data": data, "tokens_per_sample": positions}}
    return untrained({"decoder.version": torch.tensor([FORMAT]), **to_fairseq(weights, pad)}, origin, cfg)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoints", type=Path, help="folder `checkpoints` of a training by fairseq2")
    parser.add_argument("--data", type=Path, required=True, help="data directory with dict.txt and vocab.json")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--step", type=int, help="of the training (default: the last that is there)")
    options = parser.parse_args(argv)
    try:
        export(options.checkpoints, options.data, options.out, options.step)
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
