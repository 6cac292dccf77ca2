"""A Hugging Face directory whose model reads units, as a base and a checkpoint of `joint_hf`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from fairseq.tasks import setup_task
from torch import Tensor

from sld_user_dir.errors import InputError
from sld_user_dir.files import filled_directory, read_json
from sld_user_dir.models.joint_hf import JointHFConfig, JointHFModel
from sld_user_dir.models.transformers_release import loading
from sld_user_dir.models.unit_token_layouts import UnitTokens, find_unit_tokens
from sld_user_dir.stored_checkpoint import untrained, write_stored
from sld_user_dir.vocabulary.building import copy_hf_tokenizer
from sld_user_dir.vocabulary.hf_tokenizer import HF_DIR, HFTokenizer, load_tokenizer
from sld_user_dir.vocabulary.joint import DICT_FILE, JointVocabulary

POSITIONS = 1024
"""Where the model's configuration does not tell."""


def import_directory(source: str, data: Path, out: Path) -> Path:
    """Write OUT/base, the model of the text alone, and OUT/checkpoint.pt over it; returns the checkpoint.

    Args:
        source: a directory of the authors' program or of `sld export-hf`, or such a name on the hub.
        data: gets the vocabulary, if it has none; otherwise it is checked.

    Raises:
        InputError: no such model, one without units, or a vocabulary of other units or of another text.
    """
    model = _load(source)
    tokenizer = load_tokenizer(source)
    found = find_unit_tokens(source, tokenizer, len(model.get_input_embeddings().weight))
    tables = [model.get_input_embeddings().weight.detach().clone()]
    if model.get_output_embeddings().weight is not model.get_input_embeddings().weight:
        tables.append(model.get_output_embeddings().weight.detach().clone())
    _write_base(model, tokenizer, found, out / "base")
    vocab = _vocabulary(source, data, found, out / "base")
    cfg = _configuration(out / "base", data)
    ours = JointHFModel.build_model(cfg.model, setup_task(cfg.task))
    decoder = ours.decoder
    for own, table in zip([decoder.embed_tokens.new, decoder.new_head], tables):
        own.detach().copy_(_new_rows(table, found, vocab))
    return _write_checkpoint(ours, cfg, vocab, out)


def _load(source: str) -> Any:
    remedy = "give a directory of save_pretrained, or a name on the hub"
    with loading(source, "causal language model", remedy) as place:
        from transformers import AutoModelForCausalLM

        # weights of the authors' time are pickled: torch reads them without running code
        return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, trust_remote_code=False)


def _write_base(model: Any, tokenizer: Any, found: UnitTokens, directory: Path) -> None:
    """The model and the tokenizer without their tokens of speech."""
    from transformers import GenerationConfig

    model.resize_token_embeddings(found.text, mean_resizing=False)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if (getattr(model.config, name, None) or 0) >= found.text:
            setattr(model.config, name, None)
    model.generation_config = GenerationConfig()
    tables = {"tokenizer.json": "added_tokens", "tokenizer_config.json": "added_tokens_decoder"}
    with filled_directory(directory) as filled:
        model.save_pretrained(filled)
        tokenizer.save_pretrained(filled)
        for name, key in tables.items():
            stored = read_json(filled / name)
            added = stored.get(key)
            if isinstance(added, dict):
                stored[key] = {i: token for i, token in added.items() if int(i) < found.text}
            elif added:
                stored[key] = [token for token in added if token["id"] < found.text]
            (filled / name).write_text(json.dumps(stored, ensure_ascii=False), encoding="utf-8")


def _vocabulary(source: str, data: Path, found: UnitTokens, base: Path) -> JointVocabulary:
    """That of the data directory, which is made where there is none."""
    if not (data / DICT_FILE).is_file():
        copy_hf_tokenizer(str(base), data)
        tokenizer = HFTokenizer(data / HF_DIR)
        vocab = JointVocabulary.build([], found.num_units, tokenizer, tokenizer.vocabulary())
        vocab.save(data)
        return vocab
    vocab = JointVocabulary.load(data)
    if vocab.num_units != found.num_units:
        problem = f"reads {found.num_units} units, but the vocabulary of {data} has {vocab.num_units}"
        raise InputError(source, problem, "name the data directory of its own units, or an empty one")
    return vocab


def _configuration(base: Path, data: Path) -> Any:
    """What `fairseq-train --arch joint_hf` would have stored, with its defaults."""
    from fairseq import registry, tasks
    from fairseq.dataclass.configs import FairseqConfig
    from omegaconf import OmegaConf
    from transformers import AutoConfig

    positions = getattr(AutoConfig.from_pretrained(base), "max_position_embeddings", None) or POSITIONS
    cfg = OmegaConf.structured(FairseqConfig)
    task = tasks.TASK_DATACLASS_REGISTRY["speech_unit_lm"](data=str(data.resolve()), tokens_per_sample=positions)
    criterion = registry.REGISTRIES["criterion"]["dataclass_registry"]["sld"]()
    model = JointHFConfig(hf_model=str(base.resolve()))
    for name, part, kind in (
        ("task", task, "speech_unit_lm"),
        ("criterion", criterion, "sld"),
        ("model", model, "joint_hf"),
    ):
        part._name = kind
        cfg[name] = OmegaConf.structured(part)
    return cfg


def _new_rows(table: Tensor, found: UnitTokens, vocab: JointVocabulary) -> Tensor:
    """(new symbols, d) in our order; what the model has no row for starts at the mean of its text."""
    mean = table[: found.text].mean(0)
    symbols = [vocab.table[i] for i in range(len(vocab)) if i not in vocab.text_ids]
    return torch.stack([table[found.rows[symbol]] if symbol in found.rows else mean for symbol in symbols])


def _write_checkpoint(model: Any, cfg: Any, vocab: JointVocabulary, out: Path) -> Path:
    from omegaconf import OmegaConf

    options: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    path = out / "checkpoint.pt"
    write_stored(path, untrained(model.state_dict(), {"vocabulary": vocab.fingerprint}, options))
    return path
