"""GPT-2 weights in Hugging Face's form to ours and back.

Both are the same network under other names. Hugging Face's `Conv1D` keeps its matrix transposed
and the three projections of the attention in one; fairseq's position table has `pad + 1` rows in
front; and the order of the vocabularies differs:

    ours            <s> <pad> </s> <unk> | text in GPT-2's order | <mask> <sep> | units
    Hugging Face's  text in GPT-2's order | <s> <pad> </s> <unk> | <mask> <sep> | units
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Dict

import torch
from torch import Tensor

from sld_user_dir.errors import InputError
from sld_user_dir.files import filled_directory
from sld_user_dir.models.causal_decoder import CausalDecoder
from sld_user_dir.models.exported_symbols import exported_symbols, joint_ids, write_symbols
from sld_user_dir.models.new_symbols import new_rows
from sld_user_dir.models.transformers_release import require_torch_of_transformers
from sld_user_dir.vocabulary.joint import JointVocabulary

State = Dict[str, Tensor]

ACTIVATIONS = {"gelu_new": "gelu_accurate", "gelu_pytorch_tanh": "gelu_accurate", "gelu": "gelu", "relu": "relu"}
NORMS = {"ln_1": "self_attn_layer_norm", "ln_2": "final_layer_norm"}
MATRICES = {"attn.c_proj": "self_attn.out_proj", "mlp.c_fc": "fc1", "mlp.c_proj": "fc2"}
QKV = tuple(f"self_attn.{part}_proj" for part in "qkv")


class UnsupportedGPT2(InputError):
    """A GPT-2 that our architecture can't be, or a vocabulary that isn't its."""


def options_of(config: Any) -> Dict[str, Any]:
    """The options of `--arch joint_lm_gpt2` for a Hugging Face GPT2Config.

    Raises:
        UnsupportedGPT2: names the entry of config.json that our decoder does not have.
    """
    for name, wanted in (
        ("layer_norm_epsilon", 1e-5),
        ("scale_attn_weights", True),
        ("scale_attn_by_inverse_layer_idx", False),
        ("add_cross_attention", False),
        ("tie_word_embeddings", True),
    ):
        if getattr(config, name, wanted) != wanted:
            raise UnsupportedGPT2(
                None, f"config.json has {name} = {getattr(config, name)}", f"only {wanted} is supported"
            )
    if config.activation_function not in ACTIVATIONS:
        raise UnsupportedGPT2(
            None, f"activation_function {config.activation_function}", f"use one of {', '.join(ACTIVATIONS)}"
        )
    return {
        "decoder_embed_dim": config.n_embd,
        "decoder_ffn_embed_dim": config.n_inner or 4 * config.n_embd,
        "decoder_layers": config.n_layer,
        "decoder_attention_heads": config.n_head,
        "activation_fn": ACTIVATIONS[config.activation_function],
        "tokens_per_sample": config.n_positions,
    }


def from_gpt2(
    state: State, config: Any, vocab: JointVocabulary, initialisation: str = "normal", seed: int = 1
) -> State:
    """The state dict of a `joint_lm` from that of a Hugging Face `GPT2LMHeadModel`.

    Args:
        initialisation: of units and specials. `normal`: N(0, initializer_range), as the authors'
            program gets them from `resize_token_embeddings` of transformers 4.25. `mean`: the mean
            of the text embeddings plus a hundredth of their standard deviation, so that new symbols
            start with moderate logits and yet differ.

    Raises:
        UnsupportedGPT2: another number of text symbols, or a network that ours can't be.
    """
    options_of(config)
    text, size = state["transformer.wte.weight"], vocab.text_end - vocab.text_start
    if len(text) != size:
        raise UnsupportedGPT2(
            None,
            f"GPT-2 has {len(text)} text symbols, but dict.txt has {size}",
            "build it from GPT-2's tokenizer: sld vocab --text-tokenizer gpt2",
        )
    embeddings = new_rows(text, len(vocab), config.initializer_range, initialisation, seed)
    embeddings[vocab.text_start : vocab.text_end] = text
    embeddings[vocab.pad] = 0
    positions = state["transformer.wpe.weight"]
    result = {
        "decoder.version": torch.Tensor([3]),
        "decoder.embed_tokens.weight": embeddings,
        "decoder.output_projection.weight": embeddings,
        "decoder.embed_positions.weight": torch.cat([positions.new_zeros(vocab.pad + 1, config.n_embd), positions]),
    }
    for end in ("weight", "bias"):
        result[f"decoder.layer_norm.{end}"] = state[f"transformer.ln_f.{end}"].clone()
    for layer in range(config.n_layer):
        result.update(_layer_from_gpt2(state, f"transformer.h.{layer}.", f"decoder.layers.{layer}."))
    return result


def to_gpt2(state: State, vocab: JointVocabulary) -> State:
    """The inverse of `from_gpt2`, with the whole joint vocabulary in Hugging Face's order."""
    embeddings = state["decoder.embed_tokens.weight"][joint_ids(vocab)]
    result = {
        "transformer.wte.weight": embeddings,
        "lm_head.weight": embeddings,
        "transformer.wpe.weight": state["decoder.embed_positions.weight"][vocab.pad + 1 :].clone(),
    }
    for end in ("weight", "bias"):
        result[f"transformer.ln_f.{end}"] = state[f"decoder.layer_norm.{end}"].clone()
    layers = {key.split(".")[2] for key in state if key.startswith("decoder.layers.")}
    for layer in layers:
        result.update(_layer_to_gpt2(state, f"decoder.layers.{layer}.", f"transformer.h.{layer}."))
    return result


def export_directory(model: Any, vocab: JointVocabulary, directory: Path) -> None:
    """Write a `joint_lm` as a Hugging Face GPT-2 directory, with its symbols in `joint_symbols.json`.

    Where the text tokenizer is GPT-2's, it is written too, with our specials and units added.

    Raises:
        UnsupportedGPT2: the model has what GPT-2 lacks.
    """
    require_torch_of_transformers()
    from transformers import GPT2Config, GPT2LMHeadModel

    _check_exportable(model)
    decoder = model.decoder
    attention = decoder.layers[0].self_attn
    activations = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    end = joint_ids(vocab).tolist().index(vocab.eos)
    config = GPT2Config(
        vocab_size=len(vocab),
        n_positions=decoder.embed_positions.weight.size(0) - vocab.pad - 1,
        n_embd=attention.embed_dim,
        n_layer=len(decoder.layers),
        n_head=attention.num_heads,
        n_inner=decoder.layers[0].fc1.out_features,
        activation_function=activations[_activation_name(decoder.layers[0])],
        bos_token_id=end,
        eos_token_id=end,
    )
    exported = GPT2LMHeadModel(config)
    exported.load_state_dict(to_gpt2(model.state_dict(), vocab), strict=True)
    with filled_directory(directory) as filled:
        exported.save_pretrained(filled)
        write_symbols(vocab, filled)
        if vocab.tokenizer.name == "gpt2":
            tokenizer = copy.deepcopy(vocab.tokenizer.tokenizer)  # type: ignore[attr-defined]
            tokenizer.add_tokens(exported_symbols(vocab)[vocab.text_end - vocab.text_start :])
            tokenizer.save_pretrained(filled)


def _layer_from_gpt2(state: State, theirs: str, ours: str) -> State:
    result = {}
    for end in ("weight", "bias"):
        for name, own in NORMS.items():
            result[f"{ours}{own}.{end}"] = state[f"{theirs}{name}.{end}"].clone()
        for name, own in MATRICES.items():
            result[f"{ours}{own}.{end}"] = _turned(state[f"{theirs}{name}.{end}"])
        fused = _turned(state[f"{theirs}attn.c_attn.{end}"])
        for own, part in zip(QKV, fused.chunk(3)):
            result[f"{ours}{own}.{end}"] = part.clone()
    return result


def _layer_to_gpt2(state: State, ours: str, theirs: str) -> State:
    result = {}
    for end in ("weight", "bias"):
        for name, own in NORMS.items():
            result[f"{theirs}{name}.{end}"] = state[f"{ours}{own}.{end}"].clone()
        for name, own in MATRICES.items():
            result[f"{theirs}{name}.{end}"] = _turned(state[f"{ours}{own}.{end}"])
        fused = torch.cat([state[f"{ours}{own}.{end}"] for own in QKV])
        result[f"{theirs}attn.c_attn.{end}"] = _turned(fused)
    return result


def _turned(x: Tensor) -> Tensor:
    """A matrix transposed, a bias as it is; a copy."""
    return x.t().contiguous().clone() if x.dim() == 2 else x.clone()


def _check_exportable(model: Any) -> None:
    decoder = model.decoder
    if not isinstance(decoder, CausalDecoder):
        raise UnsupportedGPT2(
            None, f"the model can't be exported as GPT-2: it is {type(model).__name__}", "give a checkpoint of joint_lm"
        )
    positions = getattr(decoder.embed_positions, "weight", None)
    for fine, what in (
        (decoder.prefix_end is None, "its prompts have prefix-LM attention (--prefix-lm)"),
        (decoder.speech_convolution is None, "it has a convolution over units (--speech-conv-kernel)"),
        (decoder.stable_mask is None, "its attention has pseudo-scores (--stable-mask)"),
        (positions is not None, "its positions are not learned (--decoder-learned-pos)"),
        (decoder.share_input_output_embed, "input and output embeddings are not shared"),
        (decoder.embed_scale == 1, "embeddings are scaled (--no-scale-embedding)"),
        (decoder.layer_norm is not None, "its layers normalise behind, not before"),
        (decoder.project_in_dim is None and decoder.layernorm_embedding is None, "more between embedding and layers"),
        (all(layer.fast() for layer in decoder.layers), "its layers have more than GPT-2's"),
        (_activation_name(decoder.layers[0]) in ACTIVATIONS.values(), "GPT-2 has no such activation function"),
    ):
        if not fine:
            raise UnsupportedGPT2(None, f"the model can't be exported as GPT-2: {what}")


def _activation_name(layer: Any) -> str:
    return layer.activation_fn.__name__
