"""A pretrained causal language model of Hugging Face: loaded from safetensors alone, checked, and taken apart.

What is checked is what the rest relies on, by numbers and not by names: that its logits are hidden states times one
matrix, and that no position sees what comes after it. So a family that nobody thought of works or is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Optional

import torch
from torch import Tensor, nn

from sld_user_dir.errors import InputError
from sld_user_dir.models.hf_attention import ATTENTION, register_attention
from sld_user_dir.models.transformers_release import loading
from sld_user_dir.vocabulary.hf_tokenizer import REMEDY, HFTokenizer
from sld_user_dir.vocabulary.joint import JointVocabulary

VOLATILE = ("transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype", "use_cache")
"""Entries of config.json that say nothing about what the model computes."""


@dataclass
class HFBase:
    """The parts of a pretrained causal language model.

    Attributes:
        backbone: from embeddings (B, L, d) to hidden states (B, L, d).
        config: its configuration.
        embeddings: the module of its text symbols' embeddings, part of the backbone.
        head: (symbols, d) output matrix where it has one of its own; None where it is tied to the embeddings.
        fingerprint: 64 hex characters over configuration and weights.
    """

    backbone: nn.Module
    config: Any
    embeddings: nn.Embedding
    head: Optional[nn.Parameter]
    fingerprint: str

    @property
    def max_positions(self) -> Optional[int]:
        """Positions that it was made for, where it says so."""
        found = getattr(self.config, "max_position_embeddings", None)
        return None if found is None else int(found)


def load_base(source: str) -> HFBase:
    """Load a directory of `save_pretrained`, or a name on the Hugging Face hub, in float32.

    Raises:
        InputError: no causal language model there, or one that this package can't train.
    """
    with loading(source, "causal language model", f"{REMEDY}; weights must be safetensors") as place:
        from transformers import AutoModelForCausalLM

        register_attention()
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            place,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=ATTENTION,
            output_loading_info=True,
        )
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            source,
            f"its weights lack {missing[0]}{f' and {len(missing) - 1} more' if missing[1:] else ''}",
            "give a causal language model with its head, as AutoModelForCausalLM saves it",
        )
    model.eval()
    embeddings, output = model.get_input_embeddings(), model.get_output_embeddings()
    if model.base_model is model or not isinstance(output, nn.Linear) or not isinstance(embeddings, nn.Embedding):
        raise InputError(source, f"{type(model).__name__} has no plain embeddings and head", "choose another family")
    head: Any = None if output.weight is embeddings.weight else output.weight
    base = HFBase(model.base_model, model.config, embeddings, head, fingerprint_of(model))
    _check_numbers(source, model, base, output.weight)
    return base


def check_vocabulary(source: str, base: HFBase, vocab: JointVocabulary) -> None:
    """Refuse a vocabulary whose text symbols aren't the model's own, in the model's order.

    Raises:
        InputError: names both sides.
    """
    remedy = f"build it from the model's tokenizer: sld vocab --text-tokenizer hf --hf-model {source}"
    ours = [vocab.table[i] for i in vocab.text_ids]
    theirs = HFTokenizer(source).vocabulary()
    if ours != theirs:
        differ = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), None)
        where = "" if differ is None else f", and symbol {differ} is {ours[differ]!r} here, {theirs[differ]!r} there"
        problem = f"its tokenizer has {len(theirs)} symbols, dict.txt has {len(ours)} of text{where}"
        raise InputError(source, problem, remedy)
    rows = base.embeddings.weight.size(0)
    if len(ours) > rows:
        raise InputError(
            source, f"{len(ours)} text symbols, but its head has {rows} rows", "resize it, or take another"
        )


def fingerprint_of(model: Any) -> str:
    """64 hex characters over what the model computes: its configuration, and every tensor of it."""
    config = {key: value for key, value in model.config.to_dict().items() if key not in VOLATILE}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@torch.no_grad()
def _check_numbers(source: str, model: Any, base: HFBase, matrix: Tensor) -> None:
    """By one short row of ids, and another one that differs in its last two."""
    ids = torch.arange(5)[None] % base.embeddings.weight.size(0)
    other = torch.cat([ids[:, :3], ids[:, :2]], 1)
    logits, changed = model(ids, use_cache=False).logits, model(other, use_cache=False).logits
    near = 1e-4 * float(logits.abs().max()) + 1e-6
    if float((logits - changed)[:, :3].abs().max()) > near:
        raise InputError(source, f"{type(model).__name__} sees what comes after a position", "give a causal model")
    hidden = base.backbone(inputs_embeds=base.embeddings(ids), use_cache=False).last_hidden_state
    if float((hidden @ matrix.t() - logits).abs().max()) > near:
        problem = f"the logits of {type(model).__name__} are not its hidden states times a matrix (a bias, or a cap?)"
        raise InputError(source, problem, "choose a family with a plain head")
