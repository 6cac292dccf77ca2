"""The vocabulary of a data directory, from its train manifest: dict.txt, vocab.json, text model."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Optional, Sequence

from sld_user_dir.errors import InputError
from sld_user_dir.files import atomic_path, directory_or_name, filled_directory
from sld_user_dir.manifests.unit_manifest import encode_rows, read_manifest, refuse_empty
from sld_user_dir.pretrained_files import naming_source
from sld_user_dir.vocabulary.hf_tokenizer import HF_DIR, load_tokenizer
from sld_user_dir.vocabulary.joint import JointVocabulary, check_tasks
from sld_user_dir.vocabulary.tokenizers import GPT2_DIR, KINDS, SENTENCEPIECE_FILE, build_text_tokenizer


def build_vocabulary(
    directory: Path,
    kind: str = "char",
    text_vocab_size: Optional[int] = None,
    split: str = "train",
    tasks: Sequence[str] = (),
) -> JointVocabulary:
    """Build and save the joint vocabulary of `directory`; the same input gives the same bytes.

    Args:
        kind: text tokenizer: `char`, `word`, `sentencepiece`, `gpt2` or `hf`.
        text_vocab_size: pieces of a SentencePiece model to train on the transcripts;
            without it, the model that already lies in the directory is used.
        split: manifest that the transcripts and the number of units are taken from.
        tasks: of a mixture (`asr`, `tts`, `slm`, `lm`); none for speech recognition alone.

    Raises:
        ManifestError: the train manifest is missing or invalid.
        InputError: unknown kind or task, a size that the transcripts do not allow, no text model.
    """
    check_tasks(tasks)
    if kind not in KINDS:
        raise InputError(None, f"unknown text tokenizer {kind!r}", f"choose one of {', '.join(KINDS)}")
    if text_vocab_size is not None and kind != "sentencepiece":
        raise InputError(None, "--text-vocab-size belongs to sentencepiece", f"{kind} has no size to choose")
    manifest = read_manifest(directory / f"{split}.tsv")
    refuse_empty(manifest)
    texts = manifest.column("text")
    if text_vocab_size is not None:
        train_sentencepiece(texts, text_vocab_size, directory / SENTENCEPIECE_FILE)
    tokenizer = build_text_tokenizer(kind, directory)
    listed = getattr(tokenizer, "vocabulary", None)
    symbols = listed() if listed else None
    try:
        vocab = JointVocabulary.build(texts, manifest.provenance.num_units, tokenizer, symbols, tasks)
    except InputError:
        list(encode_rows(manifest, tokenizer.encode, texts))  # names the line of a transcript that is at fault
        raise
    vocab.save(directory)
    return vocab


def copy_gpt2_tokenizer(source: str, directory: Path) -> None:
    """Put the tokenizer of a Hugging Face GPT-2 (a directory, or a name on its hub) into a data directory.

    Raises:
        InputError: there is none.
    """
    from transformers import GPT2TokenizerFast  # type: ignore[attr-defined]

    remedy = "give a directory of save_pretrained, or a name on the Hugging Face hub such as gpt2"
    with naming_source(source, "GPT-2 tokenizer", remedy):
        tokenizer = GPT2TokenizerFast.from_pretrained(directory_or_name(source))
    if not len(tokenizer) > 1:  # an empty folder gives a tokenizer of <|endoftext|> alone
        raise InputError(
            source, "no tokenizer there", "give a directory with tokenizer.json, or vocab.json and merges.txt"
        )
    with filled_directory(directory / GPT2_DIR, last="tokenizer.json") as filled:
        tokenizer.save_pretrained(filled)


def copy_hf_tokenizer(source: str, directory: Path) -> None:
    """Put the tokenizer of a pretrained language model (a directory, or a name on the hub) into a data directory.

    Raises:
        InputError: there is none.
    """
    tokenizer = load_tokenizer(source)
    with filled_directory(directory / HF_DIR, last="tokenizer.json") as filled:
        tokenizer.save_pretrained(filled)


def train_sentencepiece(texts: Sequence[str], size: int, path: Path) -> None:
    """Train a unigram model of `size` pieces on transcripts, deterministically.

    One thread, every sentence in its order, no normalisation: what a model decodes is
    what the transcripts spell.

    Raises:
        InputError: too many pieces for these transcripts, or fewer than their characters.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=size,
            model_type="unigram",
            character_coverage=1.0,
            normalization_rule_name="identity",
            num_threads=1,
            shuffle_input_sentence=False,
            input_sentence_size=0,
            max_sentence_length=1 << 20,
            minloglevel=2,
        )
    except (RuntimeError, OSError, ValueError) as error:  # the last for a number that its int does not hold
        reason = str(error).rpartition("] ")[2].strip()  # before it: where in its sources
        raise InputError(
            None,
            f"a SentencePiece model of {size} pieces cannot be trained on these {len(texts)} transcripts ({reason})",
            "choose another --text-vocab-size",
        ) from error
    with atomic_path(path) as aside:
        aside.write_bytes(model.getvalue())


def describe(vocab: JointVocabulary) -> str:
    """One line on a vocabulary."""
    tasks = f"tasks {', '.join(vocab.tasks)}, " if vocab.tasks else ""
    return (
        f"{len(vocab)} symbols: {vocab.text_end - vocab.text_start} of text ({vocab.tokenizer.name}), "
        f"{vocab.num_units} units, {tasks}fingerprint {vocab.fingerprint}"
    )
