"""Examples of the speech-unit language model, and their batches.

One utterance is ``[<s>] u_1 … u_N <sep> w_1 … w_M </s>``; the model reads all
but its last token and predicts all but its first.
"""

from __future__ import annotations

import logging
from typing import Any, Callable, Optional, Sequence, Union

import numpy as np
import torch
from fairseq.data import FairseqDataset, data_utils

from sld_user_dir.manifests.memory_map import MappedManifest
from sld_user_dir.manifests.ragged import Ragged, ragged
from sld_user_dir.manifests.unit_manifest import Manifest, ManifestError
from sld_user_dir.sequences.augmentation import Augmentation
from sld_user_dir.sequences.packed_batch import pack_batch
from sld_user_dir.vocabulary.joint import JointVocabulary

logger = logging.getLogger(__name__)

AnyManifest = Union[Manifest, MappedManifest]


def collate_lm(samples: list[dict[str, Any]], pad: int) -> dict[str, Any]:
    """Right-padded batch of ``{"id", "prompt", "transcript"}`` items (tensors of ids).

    Right, because left padding masks whole attention rows and shifts positions.
    Without transcripts, ``target`` is None and the model's input is the prompt.
    """
    if not samples:
        return {}
    prompts = [s["prompt"] for s in samples]
    labelled = samples[0].get("transcript") is not None
    rows = [torch.cat([s["prompt"], s["transcript"]]) for s in samples] if labelled else prompts
    source = [row[:-1] for row in rows] if labelled else rows
    lengths = torch.tensor([len(row) for row in source])
    return {
        "id": torch.tensor([s["id"] for s in samples]),
        "nsentences": len(samples),
        "ntokens": int(lengths.sum()),
        "net_input": {
            "src_tokens": data_utils.collate_tokens(source, pad),  # (B, L)
            "src_lengths": lengths,  # (B,)
        },
        "target": data_utils.collate_tokens([row[1:] for row in rows], pad) if labelled else None,
        "prompt_lengths": torch.tensor([len(p) for p in prompts]),  # (B,)
    }


class UnitDataset(FairseqDataset):
    """Prompts and transcripts of a manifest, in ids of the joint vocabulary.

    Args:
        prompts: raw units int [N] of each utterance.
        texts: text ids of each transcript, or None for unlabelled prompts.
        add_bos: start every sequence with ``<s>``, so that u_1 is predicted too.
        shuffle: shuffle among utterances of the same length (training).
        names: what to call an item in an error message.
        ids: what each item's ``id`` is in a batch (default: its index).
        pack: pack batches (``packing``); then ``max_tokens`` counts no padding.
        mixed_lengths: batches of utterances of any length instead of similar ones.
    """

    def __init__(
        self,
        prompts: Sequence[np.ndarray],
        texts: Optional[Sequence[Sequence[int]]],
        vocab: JointVocabulary,
        add_bos: bool = False,
        shuffle: bool = False,
        names: Optional[Sequence[str]] = None,
        ids: Any = None,
        pack: bool = False,
        mixed_lengths: bool = False,
    ):
        self.prompts, self.texts, self.vocab = prompts, texts, vocab
        self.ids = range(len(prompts)) if ids is None else ids
        self.add_bos, self.shuffle, self.names = add_bos, shuffle, names
        self.augment: Optional[Augmentation] = None  # of a training set's units
        self.epoch = 1
        self.pack, self.mixed_lengths = pack, mixed_lengths
        # the model's input: [bos] units sep text, without the final </s>
        self.sizes = _lengths(prompts) + 1 + add_bos
        if texts is not None:
            self.sizes += _lengths(texts)

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        vocab = self.vocab
        units = self.prompts[index]
        if self.augment is not None:
            units = self.augment(units, self.epoch, int(self.ids[index]))
        units = vocab.encode_units(units)
        head = [vocab.bos] if self.add_bos else []
        item = {
            "id": int(self.ids[index]),
            "prompt": torch.from_numpy(np.concatenate([head, units, [vocab.separator]]).astype(np.int64)),
        }
        if self.texts is not None:
            text = np.asarray(self.texts[index], dtype=np.int64)
            item["transcript"] = torch.from_numpy(np.append(text, vocab.eos))
        return item

    def set_epoch(self, epoch: int) -> None:
        """fairseq calls it before it starts the epoch's workers."""
        self.epoch = epoch

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = collate_lm(samples, self.vocab.pad)
        return pack_batch(batch, self.vocab.pad) if self.pack and batch else batch

    def num_tokens(self, index: int) -> int:
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        return self.sizes[indices]

    def size(self, index: int) -> int:
        return int(self.sizes[index])

    @property
    def supports_prefetch(self) -> bool:
        return False

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return True

    def ordered_indices(self) -> np.ndarray:
        """By length (but for ``mixed_lengths``), ties in random order for training and in file order otherwise."""
        # the same in every epoch: fairseq keeps its batches, but a run that goes on makes them anew
        order = np.random.default_rng(0).permutation(len(self)) if self.shuffle else np.arange(len(self))
        if self.mixed_lengths:
            return order
        return order[np.argsort(self.sizes[order], kind="stable")]

    def filter_indices_by_size(self, indices: np.ndarray, max_sizes: Any) -> tuple[np.ndarray, list[int]]:
        """Nothing is left out in silence: what the model cannot hold is an error."""
        limit = max_sizes if isinstance(max_sizes, (int, float)) else min(max_sizes)
        for index in indices[self.sizes[indices] > limit][:1]:
            raise ValueError(
                f"{self.name(index)}: {self.sizes[index]} tokens, but the model holds {limit}; "
                "shorten or remove the utterance, or raise --max-target-positions"
            )
        return indices, []

    def name(self, index: int) -> str:
        """How to name a row to a person: file and line where they are known."""
        return self.names[index] if self.names is not None else f"utterance {index}"

    def batch_by_size(
        self,
        indices: np.ndarray,
        max_tokens: Optional[int] = None,
        max_sentences: Optional[int] = None,
        required_batch_size_multiple: int = 1,
    ) -> list[np.ndarray]:
        """Consecutive batches, padded size at most ``max_tokens``; every index in exactly one.

        fairseq's own function drops the last batch when its size is no multiple of
        ``--required-batch-size-multiple``; here the multiple only rounds full batches down,
        and packed ones not at all.
        """
        if self.pack:
            required_batch_size_multiple = 1
        batches, start, longest, total = [], 0, 0, 0
        for end, size in enumerate(self.sizes[indices].tolist()):
            if max_tokens and size > max_tokens:
                raise ValueError(
                    f"{self.name(indices[end])}: {size} tokens exceed --max-tokens {max_tokens}; "
                    f"use at least --max-tokens {size}"
                )
            longest = max(longest, size)
            count, total = end - start, total + size
            too_long = max_tokens and (total if self.pack else (count + 1) * longest) > max_tokens
            if count and (too_long or (max_sentences and count >= max_sentences)):
                if count > required_batch_size_multiple:
                    count -= count % required_batch_size_multiple
                batches.append(indices[start : start + count])
                start += count
                longest, total = int(self.sizes[indices[start : end + 1]].max()), size
        if start < len(indices):
            batches.append(indices[start:])
        return batches


def _lengths(rows: Sequence[Any]) -> np.ndarray:
    """int64 (rows,)"""
    if isinstance(rows, Ragged):
        return rows.lengths
    return np.array([len(row) for row in rows], dtype=np.int64)


class _Names(Sequence[str]):
    """``file:line`` of the rows of a manifest, made when asked for."""

    def __init__(self, manifest: AnyManifest, rows: np.ndarray):
        self.manifest, self.rows = manifest, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return f"{self.manifest.path}:{self.manifest.line(int(self.rows[index]))}"


def encoded_texts(manifest: AnyManifest, vocab: JointVocabulary) -> tuple[Ragged, int]:
    """Text ids of all transcripts, and how many of them are ``<unk>``."""
    if isinstance(manifest, MappedManifest):
        return manifest.encoded_texts(vocab)
    texts = ragged([vocab.encode_text(text) for text in manifest.column("text")])
    return texts, int((texts.flat == vocab.unk).sum())


def dataset_from_manifest(
    manifest: AnyManifest,
    vocab: JointVocabulary,
    max_positions: int,
    add_bos: bool = False,
    shuffle: bool = False,
    skip_too_long: bool = False,
    make: Optional[Callable[..., UnitDataset]] = None,
    **options: Any,
) -> UnitDataset:
    """Dataset of a manifest; the ``id`` of an item is its row in the manifest, from 0.

    Args:
        manifest: of `mmap.open_manifest`, or in memory.
        max_positions: longest input (units, separator and text) that the model holds.
        skip_too_long: leave longer lines out, counted and named, instead of an error.
        make: builds another dataset of the same arguments, such as that of a mixture of tasks.
        options: of `UnitDataset`, or of what `make` builds.

    Raises:
        ManifestError: another unit vocabulary, or a line too long for the model.
    """
    if manifest.provenance.num_units != vocab.num_units:
        raise ManifestError(
            manifest.path, None,
            f"units of a vocabulary of {manifest.provenance.num_units}, but dict.txt has "
            f"{vocab.num_units}", "rebuild dict.txt with scripts/build_vocab.py",
        )  # fmt: skip
    units = Ragged(manifest.units, manifest.offsets)
    texts, unknown = encoded_texts(manifest, vocab)
    if unknown:
        logger.warning("%s: %d text symbols are not in dict.txt and become <unk>", manifest.path, unknown)
    task_token = 1 if vocab.tasks else 0
    lengths = units.lengths + 1 + add_bos + texts.lengths + task_token
    rows = np.flatnonzero(lengths <= max_positions)
    if len(rows) < len(lengths):
        _report_too_long(manifest, lengths, max_positions, skip_too_long)
    return (make or UnitDataset)(
        units.take(rows), texts.take(rows), vocab,
        add_bos=add_bos, shuffle=shuffle, names=_Names(manifest, rows), ids=rows, **options,
    )  # fmt: skip


def _report_too_long(manifest: AnyManifest, lengths: np.ndarray, max_positions: int, skip: bool) -> None:
    """What the model can't hold is an error, or with ``skip`` counted and named."""
    too_long = np.flatnonzero(lengths > max_positions)
    first = int(too_long[0])
    if not skip:
        raise ManifestError(
            manifest.path, manifest.line(first), f"{lengths[first]} tokens, but the model holds {max_positions}",
            f"shorten or remove it ({too_long.size} such lines), raise --max-target-positions, "
            "or leave such lines out with --skip-too-long",
        )  # fmt: skip
    lines = ", ".join(str(manifest.line(int(i))) for i in too_long[:10])
    logger.warning(
        "%s: %d of %d utterances are longer than %d tokens and left out (lines %s%s)",
        manifest.path, too_long.size, len(manifest), max_positions, lines,
        ", …" if too_long.size > 10 else "",
    )  # fmt: skip
