"""The joint vocabulary of a data directory: DIR/train.tsv to DIR/dict.txt and DIR/vocab.json.

    sld vocab --data data --text-tokenizer word
    sld vocab --data data --text-tokenizer sentencepiece --text-vocab-size 500

Deterministic: the same manifest gives the same bytes. `gpt2` takes GPT-2's own symbols from a
Hugging Face tokenizer in DIR/gpt2_tokenizer, which `--gpt2 gpt2-medium` puts there; `hf` takes those of
any language model from DIR/hf_tokenizer, which `--hf-model` puts there, for `--arch joint_hf`.
"""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from sld_user_dir.files import output_lock
from sld_user_dir.vocabulary.building import build_vocabulary, copy_gpt2_tokenizer, copy_hf_tokenizer, describe
from sld_user_dir.vocabulary.joint import DICT_FILE


@dataclass
class VocabConfig:
    """Transcripts and units to one dictionary."""

    data: Path
    """data directory with train.tsv; the files are written there"""
    text_tokenizer: str = "char"
    """`char` (`|` for the space), `word`, `sentencepiece`, `gpt2` or `hf`"""
    text_vocab_size: Optional[int] = None
    """train a SentencePiece model of so many pieces on the transcripts (DIR/text.spm.model)"""
    gpt2: Optional[str] = None
    """with `gpt2`: take the tokenizer from this Hugging Face directory, or name on its hub, to DIR/gpt2_tokenizer"""
    hf_model: Optional[str] = None
    """with `hf`: put this Hugging Face model's tokenizer (a directory, or a name on its hub) into DIR/hf_tokenizer"""
    split: str = "train"
    """manifest that the text symbols are taken from"""
    tasks: str = ""
    """tasks of a mixture in one model, such as asr,tts,slm,lm (docs/mixture.md); none: recognition alone"""


CONFIGS = {"config": VocabConfig}
SHOWS_PROGRESS = True


def run(options: Namespace) -> None:
    """Run the command."""
    config = options.config
    with output_lock(config.data / DICT_FILE):
        _build(config)


def _build(config: VocabConfig) -> None:
    if config.gpt2 is not None:
        copy_gpt2_tokenizer(config.gpt2, config.data)
    if config.hf_model is not None:
        copy_hf_tokenizer(config.hf_model, config.data)
    tasks = [task.strip() for task in config.tasks.split(",")] if config.tasks else []
    vocab = build_vocabulary(config.data, config.text_tokenizer, config.text_vocab_size, config.split, tasks)
    print(f"{config.data}: {describe(vocab)}")
