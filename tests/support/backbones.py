"""Small random language models of Hugging Face's families, with a tokenizer of words, as directories."""

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from support.miniature import NUM_UNITS, WORDS
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from sld_user_dir.models.dictionaries import TextView, UnitView
from sld_user_dir.models.joint_hf import JointHFConfig, JointHFModel
from sld_user_dir.vocabulary.hf_tokenizer import HFTokenizer
from sld_user_dir.vocabulary.joint import JointVocabulary

TOKENS = ["<unk>", "<|endoftext|>", "<s>", "\t", *WORDS]
ROWS = 16
"""Of the models' tables: more than the tokenizer has tokens, as in Qwen's."""
SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 32}
GROUPED = {**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 64, "vocab_size": ROWS}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": None}
OPT = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 32, "vocab_size": ROWS}
FAMILIES = {
    "gpt2": lambda: GPT2Config(n_embd=16, n_layer=3, n_head=4, n_positions=64, vocab_size=ROWS, **SPECIAL),
    "opt": lambda: OPTConfig(**OPT, max_position_embeddings=64, word_embed_proj_dim=16, **SPECIAL),
    "opt-projected": lambda: OPTConfig(
        **OPT, max_position_embeddings=64, word_embed_proj_dim=8, do_layer_norm_before=False, **SPECIAL
    ),
    "llama": lambda: LlamaConfig(**GROUPED, tie_word_embeddings=True, **SPECIAL),
    "llama-untied": lambda: LlamaConfig(**GROUPED, tie_word_embeddings=False, **SPECIAL),
    "qwen2": lambda: Qwen2Config(**GROUPED, tie_word_embeddings=True, **SPECIAL),
    "qwen3": lambda: Qwen3Config(**GROUPED, head_dim=8, tie_word_embeddings=False, **SPECIAL),
    "mistral": lambda: MistralConfig(**GROUPED, sliding_window=5, **SPECIAL),
    "gemma3": lambda: Gemma3TextConfig(
        **GROUPED,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=5,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        **SPECIAL,
    ),
}


def make_tokenizer(directory: Path, tokens: list[str] = TOKENS) -> None:
    """A tokenizer of whole words, whose ids are the places in the list."""
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<|endoftext|>")
    fast.save_pretrained(directory)


def make_base(directory: Path, family: str = "llama", seed: int = 0, **changes: Any) -> Path:
    """A random model with weights large enough for logits that differ, and its tokenizer."""
    config = FAMILIES[family]()
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(directory)
    make_tokenizer(directory)
    return directory


def vocabulary_of(base: Path) -> JointVocabulary:
    """The joint vocabulary of a base's tokenizer and the miniature's units."""
    tokenizer = HFTokenizer(base)
    return JointVocabulary.build([], NUM_UNITS, tokenizer, tokenizer.vocabulary())


def make_model(base: Path, **options: Any) -> JointHFModel:
    """A `joint_hf` over a base, in evaluation mode."""
    config = JointHFConfig()
    fields = {name: getattr(config, name) for name in JointHFConfig.__dataclass_fields__}
    sizes = {"tokens_per_sample": 64, "max_target_positions": None}
    vocab = vocabulary_of(base)
    task = SimpleNamespace(vocab=vocab, source_dictionary=UnitView(vocab), target_dictionary=TextView(vocab))
    return JointHFModel.build_model(Namespace(**{**fields, **sizes, "hf_model": str(base), **options}), task).eval()
