"""Small random language models of Hugging Face's families, with a tokenizer of words, as directories."""

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    LogitsProcessor,
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
from support.miniature import NUM_UNITS, WORDS

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


def vocabulary_of(base: Path, units: int = NUM_UNITS) -> JointVocabulary:
    """The joint vocabulary of a base's tokenizer and so many units."""
    tokenizer = HFTokenizer(base)
    return JointVocabulary.build([], units, tokenizer, tokenizer.vocabulary())


def make_model(base: Path, vocab: Optional[JointVocabulary] = None, **options: Any) -> JointHFModel:
    """A `joint_hf` over a base, in evaluation mode."""
    config = JointHFConfig()
    fields = {name: getattr(config, name) for name in JointHFConfig.__dataclass_fields__}
    sizes = {"tokens_per_sample": 64, "max_target_positions": None}
    vocab = vocab or vocabulary_of(base)
    task = SimpleNamespace(vocab=vocab, source_dictionary=UnitView(vocab), target_dictionary=TextView(vocab))
    return JointHFModel.build_model(Namespace(**{**fields, **sizes, "hf_model": str(base), **options}), task).eval()


def merged(base: Path, model: JointHFModel) -> Any:
    """The same model in transformers' own form, its tables in the order of the joint vocabulary."""
    theirs = AutoModelForCausalLM.from_pretrained(base).eval()
    decoder = model.decoder
    theirs.resize_token_embeddings(sum(map(len, decoder.output_matrices())))
    with torch.no_grad():
        rows = decoder.rows.matrices(decoder.embed_tokens.text.weight, decoder.embed_tokens.new)
        theirs.get_input_embeddings().weight.copy_(torch.cat(rows))
        theirs.get_output_embeddings().weight.copy_(torch.cat(decoder.output_matrices()))
    return theirs


class _TextAlone(LogitsProcessor):
    """Normalised over what may be emitted, as ours; then the limits."""

    def __init__(self, vocab: JointVocabulary, prompt: int, limit: int, min_len: int):
        self.emitted = torch.tensor([vocab.eos, *vocab.text_ids])
        self.eos, self.prompt, self.limit, self.min_len = vocab.eos, prompt, limit, min_len

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        time = input_ids.size(1) - self.prompt
        allowed = torch.full_like(scores, float("-inf"))
        allowed[:, self.emitted] = scores[:, self.emitted].log_softmax(-1)
        if time < self.min_len:
            allowed[:, self.eos] = float("-inf")
        if time == self.limit:
            end = allowed[:, self.eos].clone()
            allowed.fill_(float("-inf"))
            allowed[:, self.eos] = end
        return allowed


def generate(
    theirs: Any, vocab: JointVocabulary, prompts: torch.Tensor, beam: int, limit: int, min_len: int
) -> list[list[list[int]]]:
    """Hypotheses of transformers' beam search by our rules, best first, for prompts (B, P) of one length."""
    answers = theirs.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        num_beams=beam,
        num_return_sequences=beam,
        max_new_tokens=limit + 1,
        do_sample=False,
        early_stopping=True,
        logits_processor=[_TextAlone(vocab, prompts.size(1), limit, min_len)],
        eos_token_id=vocab.eos,
        pad_token_id=vocab.pad,
    )
    rows = answers[:, prompts.size(1) :].unflatten(0, (len(prompts), beam)).tolist()
    return [[[token for token in found if token != vocab.pad] for found in row] for row in rows]
