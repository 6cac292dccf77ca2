"""Trained adapters (LoRA) as a directory that peft's `PeftModel.from_pretrained` puts onto the base.

Beside the adapters it holds the rows of the new symbols, by peft's `trainable_token_indices`: so the base needs to be
resized to the whole vocabulary, as `AutoPeftModelForCausalLM` does by itself, and the base's own tables are not written
again. Rows are in the order of `exported_symbols`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

import torch

from sld_user_dir.errors import InputError
from sld_user_dir.files import filled_directory
from sld_user_dir.models.exported_symbols import joint_ids
from sld_user_dir.models.hf_export import backbone_of, joint_tables, load_plain, number_format, resize, write_tokenizer
from sld_user_dir.vocabulary.joint import JointVocabulary

ADAPTER = "default"
"""The name that peft gives to adapters that were given none."""
BASE_FILE = "base_model.json"


def write_adapter(model: Any, source: str, vocab: JointVocabulary, directory: Path, dtype: str = "float32") -> None:
    """Write the adapters of a model as a directory of peft's: adapters, new symbols, tokenizer, generation.

    Args:
        model: a `joint_hf`.
        source: its base, a directory or a name on the hub.
        dtype: of the weights in the files.

    Raises:
        InputError: no adapters, another kind of model, an unknown dtype, or a tokenizer that can't hold the units.
    """
    numbers, decoder = number_format(dtype), backbone_of(model.decoder)
    if not getattr(decoder.backbone, "peft_config", None):
        problem = "the model has no adapters: it was trained without --lora-rank"
        raise InputError("--adapter", problem, "leave out --adapter, to write the whole model")
    adapted = adapted_model(decoder, source, vocab).to(numbers)
    adapted.create_or_update_model_card = lambda *_: None  # README.md is written by whoever exports
    about = {"name": source, "fingerprint": decoder.fingerprint, "rows": len(vocab)}
    with filled_directory(directory, last="adapter_config.json") as filled:
        adapted.save_pretrained(filled, save_embedding_layers=False)
        adapted.get_base_model().generation_config.save_pretrained(filled)
        write_tokenizer(decoder, source, vocab, filled)
        (filled / BASE_FILE).write_text(json.dumps(about, indent=1), encoding="utf-8")


@torch.no_grad()
def adapted_model(decoder: Any, source: str, vocab: JointVocabulary) -> Any:
    """The base in transformers' own form, resized, with our adapters and new symbols in peft's form."""
    from peft import LoraConfig, get_peft_model

    base, ids = load_plain(source), joint_ids(vocab)
    resize(base, vocab)
    trained, rows = decoder.backbone.peft_config[ADAPTER], _trained_rows(decoder, vocab)
    tables = dict(zip(_table_names(base, decoder.tied), joint_tables(decoder)))
    config = LoraConfig(
        r=trained.r,
        lora_alpha=trained.lora_alpha,
        lora_dropout=trained.lora_dropout,
        target_modules=sorted(trained.target_modules),
        fan_in_fan_out=trained.fan_in_fan_out,
        trainable_token_indices=dict.fromkeys(tables, rows),
        task_type="CAUSAL_LM",
    )
    model: Any = get_peft_model(base, config)
    inner = model.get_base_model()
    for name, table in tables.items():
        inner.get_submodule(name).token_adapter.trainable_tokens_delta[ADAPTER].copy_(table[ids][rows])
    ours: Dict[str, Any] = dict(decoder.backbone.named_parameters())
    for name, parameter in inner.base_model.named_parameters():
        if ".lora_" in name:
            parameter.copy_(ours[name])
    return model.eval()


def _trained_rows(decoder: Any, vocab: JointVocabulary) -> List[int]:
    """Those of the new symbols; all, where the text's embeddings were trained beside the adapters."""
    text = vocab.text_end - vocab.text_start
    return list(range(0 if decoder.embed_tokens.text.weight.requires_grad else text, len(vocab)))


def _table_names(base: Any, tied: bool) -> List[str]:
    """Of the modules of a model that hold its input embeddings and, where it has one of its own, its head."""
    names = {module: name for name, module in base.named_modules()}
    tables = [base.get_input_embeddings()] + ([] if tied else [base.get_output_embeddings()])
    return [names[table] for table in tables]
