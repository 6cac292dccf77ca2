"""Names of the parameters: fairseq's `joint_lm` to fairseq2's modules and back."""

from __future__ import annotations

import re
from typing import Any, Dict, Mapping, Tuple

import torch
from torch import Tensor

from sld_user_dir.errors import InputError
from sld_user_dir.fairseq2.model_origin import refuse_other_origin

State = Dict[str, Any]
NAMES: Tuple[Tuple[str, str], ...] = (
    ("decoder.embed_tokens.weight", "decoder_frontend.embed.weight"),
    ("decoder.embed_positions.weight", "decoder_frontend.pos_encoder.weight"),
    (".self_attn.out_proj.", ".self_attn.output_proj."),
    (".fc1.", ".ffn.inner_proj."),
    (".fc2.", ".ffn.output_proj."),
    (".final_layer_norm.", ".ffn_layer_norm."),
    ("decoder.output_projection.weight", "final_proj.weight"),
)
"""fairseq's names and fairseq2's; what is not listed has one name in both."""
POSITIONS = "decoder.embed_positions.weight"
SHARED_NAMES = re.compile(
    r"decoder\.(layers\.\d+\.(self_attn\.[qkv]_proj|self_attn_layer_norm)|layer_norm)\.(weight|bias)"
)
OF_FAIRSEQ = "the checkpoint of fairseq's"
NO_WEIGHTS = ("decoder.version", "decoder.embed_positions._float_tensor")


def from_fairseq(state: State, config: Any) -> State:
    """A checkpoint of fairseq's to the weights of fairseq2's model; one of fairseq2's stays as it is.

    Args:
        state: the entries of the file, `model` and `task_state` among them.
        config: of the model that is to take them.

    Raises:
        InputError: another vocabulary or other units than the configuration states, or a model that is no plain
            Transformer.
    """
    if "model" not in state or "decoder_frontend.embed.weight" in state:
        return state
    origin = state.get("task_state") or {}
    refuse_other_origin(OF_FAIRSEQ, origin.get("vocabulary"), origin.get("unit_provenance"), config)
    weights = {name: value for name, value in state["model"].items() if name not in NO_WEIGHTS}
    return {_translated(name): _shifted(name, value, config.pad_idx) for name, value in weights.items()}


def to_fairseq(weights: Mapping[str, Tensor], pad: int) -> Dict[str, Tensor]:
    """The weights of fairseq2's model under fairseq's names, for a dictionary whose padding is `pad`."""
    found = {}
    for name, value in weights.items():
        for theirs, ours in NAMES:
            name = name.replace(ours, theirs)
        if name == POSITIONS:  # fairseq's rows begin behind padding, fairseq2's behind one row for it
            value = torch.cat([value.new_zeros(pad + 1, value.size(1)), value[1:]])
        found[name] = value
    return found


def _translated(name: str) -> str:
    for theirs, ours in NAMES:
        if theirs in name:
            return name.replace(theirs, ours)
    if not SHARED_NAMES.fullmatch(name):
        remedy = "convert a joint_lm without --speech-conv-kernel and other additions"
        raise InputError(OF_FAIRSEQ, f"it has {name}, which fairseq2's layers have not", remedy)
    return name


def _shifted(name: str, value: Tensor, pad: int) -> Tensor:
    return torch.cat([value.new_zeros(1, value.size(1)), value[pad + 1 :]]) if name == POSITIONS else value
