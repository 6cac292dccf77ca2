"""A trained `joint_hf` as a directory that `AutoModelForCausalLM.from_pretrained` loads, adapters merged.

The new symbols become rows of the model's own tables, behind those of its text (`exported_symbols`), so that the result
is a plain model of its family: no code of this package is needed to run it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import torch
from torch import Tensor

from sld_user_dir.errors import InputError
from sld_user_dir.files import filled_directory
from sld_user_dir.models.exported_symbols import add_our_tokens, joint_ids, write_symbols
from sld_user_dir.models.hf_decoder import HFDecoder
from sld_user_dir.models.hf_products import effective_weights
from sld_user_dir.vocabulary.hf_tokenizer import load_tokenizer
from sld_user_dir.vocabulary.joint import JointVocabulary

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LONGEST_TRANSCRIPT = 200


def plain_model(decoder: Any, source: str, vocab: JointVocabulary) -> Any:
    """The model in transformers' own form, with one table for the whole joint vocabulary.

    Args:
        decoder: of a `joint_hf`.
        source: its base, a directory or a name on the hub.

    Raises:
        InputError: another kind of model.
    """
    decoder = backbone_of(decoder)
    model = load_plain(source)
    model.base_model.load_state_dict(_merged(decoder.backbone), strict=True)
    resize(model, vocab)
    with torch.no_grad():
        modules = [model.get_input_embeddings(), model.get_output_embeddings()]
        for module, table in zip(modules, joint_tables(decoder)):
            module.weight.copy_(table[joint_ids(vocab)])
    return model.eval()


def backbone_of(decoder: Any) -> HFDecoder:
    """The decoder, if it is a pretrained backbone.

    Raises:
        InputError: another kind of model.
    """
    if not isinstance(decoder, HFDecoder):
        problem = f"the model is no pretrained backbone: {type(decoder).__name__}"
        raise InputError(None, problem, "export a joint_lm by sld export-gpt2")
    return decoder


def load_plain(source: str) -> Any:
    """The base of a training in transformers' own form, in float32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )


def resize(model: Any, vocab: JointVocabulary) -> None:
    """Give a base a row for each symbol of the joint vocabulary, and tell it what ends a transcript."""
    model.resize_token_embeddings(len(vocab), mean_resizing=False)
    _configure(model, vocab, joint_ids(vocab))


def joint_tables(decoder: HFDecoder) -> List[Tensor]:
    """(V, d) each: embeddings and, where it is not tied to them, the output matrix, in the order of our ids."""
    embeddings = torch.cat(decoder.rows.matrices(decoder.embed_tokens.text.weight, decoder.embed_tokens.new))
    return [embeddings] if decoder.tied else [embeddings, torch.cat(decoder.output_matrices())]


def number_format(dtype: str) -> torch.dtype:
    """Of the weights in the files, by its name.

    Raises:
        InputError: no such name.
    """
    if dtype not in DTYPES:
        raise InputError(f"--dtype {dtype}", "no such number format", f"choose one of {', '.join(DTYPES)}")
    return DTYPES[dtype]


def write_tokenizer(decoder: HFDecoder, source: str, vocab: JointVocabulary, directory: Path) -> None:
    """Write the base's tokenizer with our symbols, and their list."""
    tokenizer = load_tokenizer(source)  # a second one: that of the vocabulary stays as it is
    add_our_tokens(vocab, tokenizer)
    tokenizer.model_max_length = decoder.max_positions()
    tokenizer.save_pretrained(directory)
    write_symbols(vocab, directory)


def write_directory(model: Any, source: str, vocab: JointVocabulary, directory: Path, dtype: str = "float32") -> None:
    """Write a model as a Hugging Face directory: weights, configuration, tokenizer, generation, symbols.

    Args:
        model: a `joint_hf`.
        source: its base.
        dtype: of the weights in the files.

    Raises:
        InputError: another kind of model, an unknown dtype, or a tokenizer that can't hold the units.
    """
    numbers = number_format(dtype)
    exported = plain_model(model.decoder, source, vocab).to(numbers)
    with filled_directory(directory) as filled:
        exported.save_pretrained(filled)
        write_tokenizer(model.decoder, source, vocab, filled)


def _merged(backbone: Any) -> Dict[str, Tensor]:
    """The state of a backbone under its own names, with adapters added into the matrices."""
    effective = {name: effective_weights(module) for name, module in backbone.named_modules()}
    state: Dict[str, Tensor] = {}
    for name, tensor in backbone.state_dict().items():
        path, _, last = name.rpartition(".")
        owner, inner, _ = path.partition(".base_layer")
        if ".lora_" in name:
            continue
        found = effective.get(owner) if inner else None
        if found is not None and last == "weight":
            tensor = found[0].t() if _is_turned(backbone.get_submodule(path)) else found[0]
        state[f"{owner}.{last}" if owner else last] = tensor
    return state


def _is_turned(layer: Any) -> bool:
    return type(layer).__name__ == "Conv1D"  # GPT-2's, (in, out)


def _configure(model: Any, vocab: JointVocabulary, ids: Tensor) -> None:
    """What ends a transcript, and what is never emitted."""
    place: Dict[int, int] = {ours: theirs for theirs, ours in enumerate(ids.tolist())}
    emitted = {place[vocab.eos], *(place[i] for i in vocab.text_ids)}
    silent: List[int] = [i for i in range(len(vocab)) if i not in emitted]
    special = {"bos_token_id": place[vocab.bos], "eos_token_id": place[vocab.eos], "pad_token_id": place[vocab.pad]}
    for name, value in special.items():
        setattr(model.config, name, value)
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        **special, max_new_tokens=LONGEST_TRANSCRIPT, num_beams=5, do_sample=False, suppress_tokens=silent
    )
